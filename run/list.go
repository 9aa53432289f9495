package run

import (
	"cmp"
	"slices"
)

// Get finds a run that waits, lives, or is kept.
func (m *Manager) Get(id string) (*Run, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.runs[id]
	return r, ok
}

// List gives the records that f selects, newest first.
func (m *Manager) List(f Filter) []Record {
	type placed struct {
		Record
		seq uint64
	}
	var all []placed
	for _, r := range m.all() {
		if c := r.Record(); f.takes(c) {
			all = append(all, placed{c, r.seq})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(b.seq, a.seq) })
	var out []Record
	for _, one := range all {
		out = append(out, one.Record)
	}
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out
}

func (f Filter) takes(r Record) bool {
	return (f.State == "" || f.State == r.State) && !(f.Unfinished && r.State == Finished) && (f.Client == "" || f.Client == r.Client)
}
