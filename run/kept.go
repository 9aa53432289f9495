package run

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"penstock/outcome"
	"penstock/run/history"
	"penstock/run/store"
)

// Of a run that has ended no object is kept: the index finds it, and its record and
// its output are read when it is asked for.

// indexed is what the index has of a run. One whose record is a file has its
// fingerprint here, and no more.
type indexed struct {
	Record      *Record           `json:"record,omitempty"`
	Checkpoint  *store.Checkpoint `json:"checkpoint,omitempty"` // to read its output again; nil before it has ended
	Fingerprint []byte            `json:"fingerprint,omitempty"`
	Asked       int64             `json:"asked,omitempty"` // store.Dir.Asked, until it has ended
}

// dirFor is the place of a run to come: only a durable one has files in the store.
func (m *Manager) dirFor(s Spec) *store.Dir {
	if !s.Durable {
		return m.state.Indexed(s.ID)
	}
	dir := m.state.Run(s.ID)
	dir.Flush = m.o.flush
	return dir
}

// saveStart records a run before its process is started, where a later daemon finds it.
func (m *Manager) saveStart(d *store.Dir, r Record) error {
	if r.Durable {
		return d.Save(r)
	}
	data, err := json.Marshal(indexed{Record: &r, Asked: d.Asked})
	if err != nil {
		return err
	}
	return m.state.History.Begin(r.ID, data)
}

// forgetStart takes back what was recorded of a start that came to nothing.
func (m *Manager) forgetStart(s Spec, d *store.Dir) error {
	if s.Durable {
		return nil
	}
	err := m.state.History.Remove(s.ID)
	if len(s.Asked) > 0 {
		err = errors.Join(err, d.RemoveAsked())
	}
	return err
}

// saveEnd records the end of a run, of one with files in the store in these first.
func (m *Manager) saveEnd(d *store.Dir, r Record, cp *store.Checkpoint) error {
	if d.IsIndexed() {
		kept := indexed{Record: &r}
		if cp != nil {
			bare := *cp
			bare.Record = Record{}
			kept.Checkpoint = &bare
		}
		return m.index(d, r, kept, cp != nil && cp.Discarded)
	}
	if err := d.Save(r); err != nil {
		return err
	}
	return m.indexFile(d, r, cp)
}

// indexFile puts a run into the index whose record is a file.
func (m *Manager) indexFile(d *store.Dir, r Record, cp *store.Checkpoint) error {
	var kept indexed
	if cp != nil {
		kept.Fingerprint = cp.Fingerprint
	}
	return m.index(d, r, kept, cp != nil && cp.Discarded)
}

func (m *Manager) index(d *store.Dir, r Record, kept indexed, discarded bool) error {
	data, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	bytes := r.OutputBytes + d.Asked
	if discarded {
		bytes = 0
	}
	return m.state.History.Finish(history.Entry{
		ID: r.ID, Client: r.Client, Created: r.Created, Ended: r.FinishedAt(), Bytes: bytes,
		Filed: !d.IsIndexed(), Asked: d.IsIndexed() && d.Asked > 0,
	}, data)
}

// recall reads what is kept of a run that has ended; fs.ErrNotExist is that there is none.
func (m *Manager) recall(id string) (*store.Dir, Record, *store.Checkpoint, error) {
	d := m.state.Run(id)
	if e, known := m.state.History.Find(id); known && !e.Filed {
		kept, err := m.readIndexed(id)
		switch {
		case store.IsTransient(err), errors.Is(err, fs.ErrNotExist): // it was removed a moment ago
			return nil, Record{}, nil, err
		case err != nil || kept.Record == nil:
			m.log.Warn("what is kept of a run can't be read", "run", id, "err", err)
			kept = indexed{Record: lostRecord(e)}
		}
		return m.state.Indexed(id), *kept.Record, kept.Checkpoint, nil
	} else if !known && m.complete.Load() {
		return nil, Record{}, nil, fs.ErrNotExist
	}
	found, err := d.Recall()
	switch {
	case errors.Is(err, store.ErrNeverStarted), err == nil && found.Record.State != Finished: // none, or not yet or not any more
		return nil, Record{}, nil, fs.ErrNotExist
	case store.IsTransient(err):
		return nil, Record{}, nil, err
	}
	return d, found.Record, found.Checkpoint, nil
}

// Asked gives what the client asked of a run, as Spec.Asked was; fs.ErrNotExist is that
// nothing is kept, also of a run that has not been started yet.
func (m *Manager) Asked(id string) ([]byte, error) {
	d, err := m.placeOf(id)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", id, err)
	}
	data, err := d.LoadAsked()
	if err != nil {
		return nil, fmt.Errorf("run %s: what was asked: %w", id, err)
	}
	return data, nil
}

// KeepPending keeps a request that is about to be answered before its run is started, until
// ForgetPending: the next daemon finds it. The error is *spawn.StartError where the host has no
// room for it.
func (m *Manager) KeepPending(p Pending) error {
	save := func() error { return m.state.SavePending(p, m.o.flush) }
	if err := m.launchWithRoom(save); err != nil {
		return hostError(fmt.Errorf("run %s: not kept: %w", p.ID, err), m.log)
	}
	return nil
}

// ForgetPending is for a request whose run has a record, or that was refused.
func (m *Manager) ForgetPending(id string) {
	if err := m.state.ForgetPending(id); err != nil {
		m.log.Warn("a request that is settled is still there: the next daemon removes it", "run", id, "err", err)
	}
}

// Pending are the requests that an earlier daemon has answered and not started, in the order in
// which they came.
func (m *Manager) Pending() []Pending {
	found, err := m.state.Pending(func(path string, err error) {
		m.log.Error("a request that was to be started is lost: what is kept of it can't be read", "path", path, "err", err)
	})
	if err != nil {
		m.log.Error("requests that an earlier daemon has answered are not started", "err", err)
	}
	return slices.DeleteFunc(found, func(p Pending) bool {
		settled := m.Has(p.ID) || m.Pruned(p.ID, p.Client, p.Fingerprint)
		if settled { // that daemon had no time to forget it
			m.ForgetPending(p.ID)
		}
		return settled
	})
}

// placeOf is where the files of a run lie that lives or is kept.
func (m *Manager) placeOf(id string) (*store.Dir, error) {
	if err := store.CheckID(id); err != nil {
		return nil, fs.ErrNotExist
	}
	if r := m.liveRun(id); r != nil {
		return m.dirFor(Spec{ID: id, Durable: r.Record().Durable}), nil
	}
	e, known := m.state.History.Find(id)
	d := m.state.Run(id)
	switch {
	case known && !e.Filed:
		d = m.state.Indexed(id)
	case !known && (m.complete.Load() || !d.Exists()):
		return nil, fs.ErrNotExist
	}
	return d, nil
}

// lostRecord is of a run whose record the index can't give.
func lostRecord(e history.Entry) *Record {
	return &Record{
		ID: e.ID, Object: store.Object, State: Finished, Cause: outcome.Lost, Message: "the run's record can't be read: the index is damaged",
		Client: e.Client, Created: e.Created, Ended: &e.Ended, OutputBytes: e.Bytes,
	}
}

// recordOf is the record alone, for a list.
func (m *Manager) recordOf(e history.Entry) (Record, error) {
	if !e.Filed {
		_, record, _, err := m.recall(e.ID)
		return record, err
	}
	record, err := m.state.Run(e.ID).Record()
	if errors.Is(err, fs.ErrPermission) {
		lost := lostRecord(e)
		lost.Message = "the run's record can't be read: another user's daemon has made it"
		return *lost, nil
	}
	return record, err
}

func (m *Manager) readIndexed(id string) (kept indexed, err error) {
	_, data, err := m.state.History.Get(id)
	if err != nil {
		return kept, err
	}
	return kept, json.Unmarshal(data, &kept)
}

// load is Get of a run that has ended.
func (m *Manager) load(id string) (*Run, error) {
	d, record, cp, err := m.recall(id)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", id, err)
	}
	if cp != nil && (cp.Discarded || cp.Silent) { // there is nothing for a backend to read
		p := newFinishedRun(d, record, m.log)
		p.fingerprint = cp.Fingerprint
		if cp.Discarded {
			p.spool.Discard()
		}
		return p, nil
	}
	cp, b := m.resolveBackend(&record, cp)
	return m.finishedRun(d, record, cp, b)
}

// IDs are those of all runs, live and kept, from memory.
func (m *Manager) IDs() []string {
	var ids []string
	for _, r := range m.Live() {
		ids = append(ids, r.id)
	}
	for _, e := range m.state.History.Newest("", 0) {
		ids = append(ids, e.ID)
	}
	return ids
}

// List gives the records that f selects, newest first.
func (m *Manager) List(f Filter) []Record {
	records, _ := m.TryList(f)
	return records
}

// TryList is List, and tells whether all of it could be read: where descriptors run out,
// for one, some can't, and they are not gone for that.
func (m *Manager) TryList(f Filter) (out []Record, whole bool) {
	live := m.Live()
	isLive := make(map[string]bool, len(live))
	slices.SortFunc(live, func(a, b *Run) int { return cmp.Compare(b.seq, a.seq) })
	whole = true
	for _, r := range live {
		isLive[r.id] = true
		if c := r.Record(); f.takes(c) {
			out = append(out, c)
		}
	}
	if !f.Unfinished && (f.State == "" || f.State == Finished) {
		out, whole = m.withFinished(out, f, isLive)
	}
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out, whole
}

// withFinished is the list with the runs that have ended, of which no more are read than
// it takes.
func (m *Manager) withFinished(live []Record, f Filter, isLive map[string]bool) (out []Record, whole bool) {
	limit := f.Limit
	if limit > 0 {
		limit += len(isLive) // one that is just ending is in both
	}
	ended := m.state.History.Newest(f.Client, limit)
	out, whole = make([]Record, 0, len(live)+len(ended)), true
	for len(live)+len(ended) > 0 && (f.Limit <= 0 || len(out) < f.Limit) {
		if len(ended) == 0 || len(live) > 0 && !live[0].Created.Before(ended[0].Created) {
			out, live = append(out, live[0]), live[1:]
			continue
		}
		e := ended[0]
		ended = ended[1:]
		if isLive[e.ID] {
			continue
		}
		switch record, err := m.recordOf(e); {
		case err == nil:
			out = append(out, record)
		case store.IsTransient(err):
			whole = false
		}
	}
	return out, whole
}

func (f Filter) takes(r Record) bool {
	return (f.State == "" || f.State == r.State) && !(f.Unfinished && r.State == Finished) && (f.Client == "" || f.Client == r.Client)
}

// keep lets go of a run of which nothing is left but its files. One whose record there
// was no room for stays as it is until there is.
func (m *Manager) keep(r *Run) {
	m.mu.Lock()
	r.letGo()
	if r.save == nil {
		delete(m.live, r.id)
	}
	m.lastGone = time.Now()
	due := m.setDiscard(r.id)
	m.mu.Unlock()
	if due {
		select {
		case m.due <- struct{}{}:
		default:
		}
	}
	m.changes.Add(1)
	runs, bytes := m.state.History.Runs()
	if runs > m.o.KeepRuns+min(m.o.KeepRuns/pruneSlack, pruneMax) || bytes > m.o.KeepBytes+m.o.KeepBytes/pruneSlack {
		select {
		case m.full <- struct{}{}:
		default:
		}
	}
}
