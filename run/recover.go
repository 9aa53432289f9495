package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/cgroup"
	"penstock/internal/openat"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"
)

// recover settles what an earlier daemon has left. What lives of it are the durable runs
// whose groups the spawner has kept; it has swept the others.
func (m *Manager) recover(ctx context.Context) error {
	survey := m.state.Survey
	m.tell(survey)
	slices.Sort(survey.Unsettled)
	var found []*Run
	for _, id := range survey.Unsettled {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := m.recoverRun(m.state.Run(id))
		if errors.Is(err, errNotIndexed) {
			m.state.Survey.Unindexed = append(m.state.Survey.Unindexed, id)
			continue
		}
		if err != nil {
			return fmt.Errorf("run %s of an earlier daemon: whether it lives can't be told: %w", id, err)
		}
		if r != nil {
			found = append(found, r)
			m.addLive(r)
		}
	}
	m.number(found)
	for _, id := range m.state.History.Begun() {
		m.concludeBegun(id)
	}
	if n, err := m.state.SweepAsked(m.state.History.MarkAsked); n > 0 || err != nil {
		m.log.Warn("what was asked of runs is removed of which nothing is known", "runs", n, "err", err)
	}
	m.recoverDiscards()
	m.beginRebuild()
	return nil
}

func (m *Manager) addLive(r *Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live[r.id] = r
}

// tell says what of the index was not as it should be.
func (m *Manager) tell(s store.Survey) {
	for _, path := range s.Foreign {
		m.log.Warn("not a run: ignored", "path", path)
	}
	if s.Index.SetAside != "" {
		m.log.Warn("the index of finished runs is of a later version, or can't be read: it is made anew", "set_aside", s.Index.SetAside)
	}
	if s.Index.Damaged > 0 {
		m.log.Warn("the index of finished runs was damaged: records of runs that were not durable may be lost", "lines", s.Index.Damaged)
	}
	if s.Missing > 0 {
		m.log.Warn("files of finished runs have gone: they are not kept any more", "runs", s.Missing)
	}
}

// concludeBegun finishes the record of a run that was to end with an earlier daemon, and
// that had no time to say so.
func (m *Manager) concludeBegun(id string) {
	kept, err := m.readIndexed(id)
	if err != nil || kept.Record == nil {
		m.log.Warn("what is known of a run that has begun can't be read", "run", id, "err", err)
		if store.IsTransient(err) {
			return // a later daemon may
		}
		kept.Record = &Record{ID: id, Object: store.Object, Created: time.Now()}
	}
	d := m.state.Indexed(id)
	d.Asked = kept.Asked
	if r := m.concludeLeftover(d, kept.Record, nil, nil); r != nil {
		m.addLive(r)
	}
}

// number puts the runs of an earlier daemon in the order of their records, and all
// before those to come: a record dated ahead is no newer than a run of today.
func (m *Manager) number(found []*Run) {
	slices.SortFunc(found, func(a, b *Run) int {
		if c := a.Record().Created.Compare(b.Record().Created); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range found {
		m.last++
		r.seq = m.last
	}
}

// errNotIndexed is of a run that has ended and can't be put into the index now.
var errNotIndexed = errors.New("not indexed")

// recoverRun is where a run of an earlier daemon gets its place in this one; nil is that
// it is in the index, or that there was none. An error is errNotIndexed, or the host's: that
// says nothing of the run.
func (m *Manager) recoverRun(d *store.Dir) (*Run, error) {
	found, err := d.Recall()
	if errors.Is(err, store.ErrNeverStarted) {
		m.discardUnstarted(d)
		return nil, nil
	}
	if store.IsTransient(err) {
		if found.Rebuilt && found.Checkpoint.Fresh == nil && !m.spawner.Keeps(found.Record.ID) {
			err = fmt.Errorf("%w: %w", errNotIndexed, err) // it doesn't live, and isn't to be started anew
		}
		return nil, err
	}
	record := found.Record
	if found.Checkpoint != nil {
		d.Asked = found.Checkpoint.Asked
	}
	if found.Rebuilt && found.Checkpoint.Leader == 0 && !m.spawner.Keeps(record.ID) {
		m.discardUnstarted(d) // the record comes after the checkpoint, and before the start
		return nil, nil
	}
	if err != nil {
		m.log.Warn("checkpoint not readable: the run's events are lost", "run", record.ID, "err", err)
	}
	if record.State == Finished && record.Ended != nil {
		if err := m.indexFile(d, record, found.Checkpoint); err != nil {
			return nil, fmt.Errorf("%w: %w", errNotIndexed, err)
		}
		return nil, nil
	}
	cp, b := m.resolveBackend(&record, found.Checkpoint)
	if cp != nil {
		if cp.Restart == store.RestartDue {
			if r := m.resumeRestart(d, record, cp, b); r != nil {
				return r, nil
			}
		}
		r, err := m.adopt(d, record, cp, b)
		if err == nil || store.IsTransient(err) {
			return r, err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			m.log.Error("run not adopted: it is ended", "run", record.ID, "err", err)
		} else if r := m.resumeRestart(d, record, cp, b); r != nil {
			return r, nil
		}
	}
	return m.concludeLeftover(d, &record, cp, b), nil
}

// discardUnstarted forgets what an earlier daemon was about to start: the same request
// may come again.
func (m *Manager) discardUnstarted(d *store.Dir) {
	if err := d.Remove(); err != nil {
		m.log.Warn("run that was never started is not removed", "run", filepath.Base(d.Path), "err", err)
	}
}

// resolveBackend gives what is needed to read a run's output, or nil.
func (m *Manager) resolveBackend(r *Record, cp *store.Checkpoint) (*store.Checkpoint, backend.Backend) {
	if cp == nil {
		return nil, nil
	}
	m.o.Bounds(r.Backend, cp.Kind).Apply(r, cp, time.Now())
	b, ok := m.o.Backends(r.Backend)
	if ok && (cp.Kind == "" || cp.Kind == b.Kind()) {
		return cp, b
	}
	was, err := kinds.New(backend.Config{Name: r.Backend, Kind: cp.Kind})
	if err != nil {
		m.log.Warn("run of a backend that isn't configured any more: what it says can't be read", "run", r.ID, "backend", r.Backend, "kind", cp.Kind)
		return cp, opaqueBackend{r.Backend}
	}
	m.log.Warn("run of a backend that isn't configured any more, or as another kind: it is read as what it was", "run", r.ID, "backend", r.Backend, "kind", cp.Kind)
	return cp, was
}

// concludeLeftover finishes the record of a run whose group is gone: by what its
// output says, and where that says nothing it is lost. One whose record there is no room
// for is given back: it lives until there is.
func (m *Manager) concludeLeftover(d *store.Dir, r *Record, cp *store.Checkpoint, b backend.Backend) (unsaved *Run) {
	word, _ := m.lastTerminal(d, cp, b)
	ended, err := d.LoadEnd()
	if err != nil {
		m.log.Warn("what was noted of the run's end can't be read", "run", r.ID, "err", err)
		err = nil
	}
	verdict := outcome.Decide(outcome.Facts{
		Outcome:  ended,
		Terminal: word, Limits: r.Limits,
		PlainExit: b != nil && b.Features().PlainExit, Unread: b != nil && isOpaque(b),
	})
	if verdict.Cause == outcome.Lost && r.Answered == nil {
		verdict.Message = "the daemon ended before the run did: its outcome is unknown; check what it did before asking again"
		m.log.Warn("run lost", "run", r.ID, "client", r.Client, "backend", r.Backend)
	}
	now := time.Now()
	r.State, r.Ended = Finished, &now
	if r.Answered != nil {
		r.Warning = warningOf(verdict)
	} else {
		r.Cause, r.Message = verdict.Cause, verdict.Message
	}
	if ended.Receipt.EnforcedBy != (cgroup.Enforced{}) {
		r.Receipt, r.EnforcedBy, r.Survived = &ended.Receipt, ended.Receipt.EnforcedBy, ended.Survived
	}
	if cp != nil {
		d.Flush = (*os.File).Sync
		cp.ForgetPrompt()
		err = d.SaveCheckpoint(cp)
	}
	save := func() error { return m.saveEnd(d, *r, cp) }
	notSaved := save()
	if r.Started != nil {
		m.observer.RunFinished(*r, outcome.Outcome{}) // when it ended is not known
	}
	if err := errors.Join(err, notSaved, d.RemoveScratch(), d.DropFresh(), trimLeftover(d, cp)); err != nil {
		m.log.Warn("run of an earlier daemon not settled", "run", r.ID, "err", err)
	}
	if notSaved == nil {
		return nil
	}
	if unsaved, err = m.finishedRun(d, *r, cp, b); err != nil {
		unsaved = newFinishedRun(d, *r, m.log)
	}
	unsaved.save = save
	return unsaved
}

// lastTerminal reads a whole output for how the CLI said it ended; nil when it didn't.
// sessionUnknown is that it refused its session and did nothing.
func (m *Manager) lastTerminal(d *store.Dir, cp *store.Checkpoint, b backend.Backend) (word *outcome.Terminal, sessionUnknown bool) {
	if cp == nil {
		return nil, false
	}
	f, info, err := openat.Regular(d.File(store.SpoolName))
	if err != nil {
		m.log.Warn("output not readable", "run", filepath.Base(d.Path), "err", err)
		return nil, false
	}
	defer f.Close()
	if !spool.IsInode(f, cp.Spool) {
		m.log.Warn("output is not what the run was started with", "run", filepath.Base(d.Path))
		return nil, false
	}
	p := newReplay(b, cp).Read(f)
	p.Limit(info.Size())
	for !p.Done() {
		events, _, ok := p.Next()
		for _, e := range events {
			if t := terminalOf(e); t != nil {
				return t, e.Failure != nil && e.Failure.SessionUnknown
			}
		}
		if ok {
			continue
		}
		n, err := p.Fill()
		if err != nil {
			return nil, false
		}
		if n == 0 {
			p.End()
		}
	}
	return nil, false
}

// finishedRun is a finished run; without a checkpoint its events can't be read. The error is
// the host's.
func (m *Manager) finishedRun(d *store.Dir, r Record, cp *store.Checkpoint, b backend.Backend) (*Run, error) {
	p, path := newFinishedRun(d, r, m.log), d.File(store.SpoolName)
	if cp == nil || isOpaque(b) {
		p.spool.Set(path, nil, nil)
		return p, nil
	}
	replay := newReplay(b, cp)
	replay.Buffers = &m.buffers
	p.fingerprint, p.settle = cp.Fingerprint, cp.Settle
	if cp.Silent {
		return p, nil
	}
	f, info, err := openat.Regular(path)
	if store.IsTransient(err) {
		return nil, err
	}
	if err != nil {
		m.log.Debug("output not readable", "run", r.ID, "err", err)
		p.spool.Set(path, nil, replay)
		p.spool.MarkTampered()
		return p, nil
	}
	defer f.Close()
	size := info.Size()
	if cp.Final != nil {
		size = *cp.Final
	}
	p.spool.Set(path, info, replay)
	p.spool.Finish(size, r.Cause != outcome.Completed)
	if cp.Tampered || !spool.IsInode(f, cp.Spool) || info.Size() < size {
		m.log.Debug("output is not what the run has left", "run", r.ID)
		p.spool.MarkTampered()
	}
	return p, nil
}
