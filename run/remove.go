package run

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"penstock/run/history"
	"penstock/run/store"
)

// ErrLive is wrapped where a run has not ended, or something is left of it that lives.
var ErrLive = errors.New("the run lives")

// Remove removes a finished run now: its record, its output, and what was asked. The
// request of a durable one is known as one of a run that was pruned. It waits a little for
// the group of a run that has just ended. Errors: ErrLive; fs.ErrNotExist; any other says
// that the run is there still.
func (m *Manager) Remove(id string) error {
	if err := m.remove(id); err != nil {
		return fmt.Errorf("remove run %s: %w", id, err)
	}
	return nil
}

func (m *Manager) remove(id string) error {
	if r := m.liveRun(id); r != nil {
		if unsaved, err := m.awaitKept(r); err != nil || unsaved {
			return err
		}
	}
	e, err := m.takeOne(id)
	if err != nil {
		return err
	}
	m.removeFiles([]history.Entry{e}, func(id string, failed error) {
		err = failed
		m.keepOn(id, time.Now().Add(removeEvery), failed)
	})
	return err
}

// awaitKept waits until nothing lives of a run that has ended. One whose record there was
// no room for is removed: it is in no index.
func (m *Manager) awaitKept(r *Run) (removed bool, err error) {
	if !isClosed(r.ended) {
		return false, ErrLive
	}
	late := time.NewTimer(removeWait)
	defer late.Stop()
	select {
	case <-r.done:
	case <-late.C:
		return false, fmt.Errorf("%w: its group is still there", ErrLive)
	}
	m.saving.Lock()
	defer m.saving.Unlock()
	m.mu.Lock()
	saved := r.save == nil
	m.mu.Unlock()
	if saved {
		return false, nil
	}
	return true, m.removeUnsavedRun(r)
}

// takeOne takes one finished run out of sight, as takeExpired does many.
func (m *Manager) takeOne(id string) (history.Entry, error) {
	m.pruning.Lock()
	defer m.pruning.Unlock()
	e, known := m.state.History.Find(id)
	if !known {
		if !m.complete.Load() && store.CheckID(id) == nil && m.state.Run(id).Exists() {
			return e, errors.New("the index of finished runs is being made anew: try again in a minute")
		}
		return e, fs.ErrNotExist
	}
	fingerprint, err := m.fingerprintOf(e)
	if err != nil {
		return e, err
	}
	m.pruned.Add(e.ID, e.Client, fingerprint)
	m.state.History.Hide(e.ID)
	return e, nil
}

// discardAfter is how long the output of a run with Spec.Discard stays that nothing has
// discarded: its client may just be reading it, or come back for it.
const discardAfter = spareMax

// DiscardOutput removes the output of a run that has ended, and what was asked: no more
// than its record stays. Readers that have it open go on; later ones get spool.ErrPruned.
// Of a run that lives the output goes when it has ended. The error wraps fs.ErrNotExist
// where there is no such run.
func (m *Manager) DiscardOutput(id string) error {
	lives, err := m.discardAtEnd(id)
	if !lives {
		err = m.discard(id)
	}
	if err != nil {
		return fmt.Errorf("discard the output of run %s: %w", id, err)
	}
	return nil
}

// discardAtEnd is false of a run that doesn't live.
func (m *Manager) discardAtEnd(id string) (lives bool, err error) {
	m.mu.Lock()
	r := m.live[id]
	_, noted := m.discards[id]
	if r != nil {
		m.discards[id] = time.Unix(1, 0) // as soon as it can be
	}
	m.mu.Unlock()
	if r == nil || noted {
		return r != nil, nil
	}
	return true, m.dirFor(Spec{ID: id, Durable: r.Record().Durable}).MarkDiscard()
}

// beginDiscard notes, for the next daemon too, that the output of a run to come is to go.
func (m *Manager) beginDiscard(d *store.Dir, id string) error {
	m.mu.Lock()
	m.discards[id] = time.Time{}
	m.mu.Unlock()
	return d.MarkDiscard()
}

// forgetDiscard is for a run of which nothing is left that is to go.
func (m *Manager) forgetDiscard(id string) error {
	m.mu.Lock()
	_, noted := m.discards[id]
	m.mu.Unlock()
	if !noted {
		return nil
	}
	if err := m.state.ForgetDiscard(id); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.discards, id)
	m.mu.Unlock()
	return nil
}

// setDiscard is for a run that has ended: when its output goes, where it does. due tells
// that it is time. mu is held.
func (m *Manager) setDiscard(id string) (due bool) {
	at, noted := m.discards[id]
	if !noted {
		return false
	}
	if at.IsZero() {
		m.discards[id] = time.Now().Add(discardAfter)
	}
	return !at.IsZero()
}

// discardDue discards what is due of runs of which nothing lives. What fails is tried
// again.
func (m *Manager) discardDue(now time.Time) {
	var due []string
	m.mu.Lock()
	for id, at := range m.discards {
		if m.live[id] == nil && !at.IsZero() && !at.After(now) {
			due = append(due, id)
		}
	}
	m.mu.Unlock()
	for _, id := range due {
		if err := m.discard(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.log.Warn("output not discarded", "run", id, "again_in", pruneEvery, "err", err)
		}
	}
}

// discard says first that the output is not kept: a daemon that dies in between leaves
// what the next one discards, and none that reads as tampered with. No other removal of the
// run begins meanwhile: what is out of sight stays so, and its id is no other run's.
func (m *Manager) discard(id string) error {
	m.pruning.Lock()
	defer m.pruning.Unlock()
	e, known := m.state.History.Find(id)
	if !known {
		if m.complete.Load() && !m.isLive(id) {
			return errors.Join(fs.ErrNotExist, m.forgetDiscard(id))
		}
		return fs.ErrNotExist
	}
	d, record, cp, err := m.recall(id)
	if err != nil {
		return err
	}
	if e.Asked || e.Filed {
		if err := d.RemoveAsked(); err != nil {
			return err
		}
	}
	// Also where it can't be said for want of room.
	if err := errors.Join(m.sayDiscarded(d, record, cp), d.RemoveOwn()); err != nil {
		return err
	}
	return m.forgetDiscard(id)
}

// sayDiscarded records it, with no more of the checkpoint than is needed of such a run.
func (m *Manager) sayDiscarded(d *store.Dir, r Record, cp *store.Checkpoint) error {
	bare := &store.Checkpoint{Discarded: true, Record: r}
	if cp != nil {
		bare.Kind, bare.Fingerprint, bare.Settle = cp.Kind, cp.Fingerprint, cp.Settle
	}
	if !d.IsIndexed() {
		d.Flush = m.o.flush
		if err := d.SaveCheckpoint(bare); err != nil {
			return err
		}
	}
	return m.saveEnd(d, r, bare)
}

// recoverDiscards goes on where an earlier daemon was. The output of a durable run stays
// until its client has had the time to come back for it.
func (m *Manager) recoverDiscards() {
	var errs []error
	err := m.state.Discards(func(id string) {
		e, known := m.state.History.Find(id)
		filed := !known && m.state.Run(id).Exists() // it is indexed later
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case m.live[id] != nil:
			m.discards[id] = time.Time{}
		case known && !e.Filed:
			m.discards[id] = time.Unix(1, 0)
		case known || filed:
			m.discards[id] = time.Now().Add(discardAfter)
		default: // it was never started
			errs = append(errs, m.state.ForgetDiscard(id))
		}
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		m.log.Warn("output of runs that is not to be kept may stay", "err", err)
	}
	m.discardDue(time.Now())
}
