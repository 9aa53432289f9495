package run

import (
	"slices"
	"strings"
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
	var out []Record
	for _, r := range m.all() {
		if c := r.Record(); f.takes(c) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Record) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out
}

func (f Filter) takes(r Record) bool {
	return (f.State == "" || f.State == r.State) && !(f.Unfinished && r.State == Finished) && (f.Client == "" || f.Client == r.Client)
}
