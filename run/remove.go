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
