package run

import (
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// rebuildAtOnce is how many runs go into a new index at a time.
	rebuildAtOnce = 4
	// rebuildSync is how many runs Open puts into the index before it returns; with more
	// of them the daemon is ready before that.
	rebuildSync = 256
	// rebuildEvery is how often runs are tried that can't be put into it.
	rebuildEvery = time.Minute
)

// beginRebuild puts what the index doesn't know into it, where that isn't much. What is
// left is for rebuild.
func (m *Manager) beginRebuild() {
	if n := len(m.state.Survey.Unindexed); n > rebuildSync {
		m.log.Warn("the index of finished runs is made anew: lists are incomplete until then", "runs", n, "fresh", m.state.Survey.Index.Fresh)
		return
	}
	if m.indexAll(); len(m.state.Survey.Unindexed) > 0 {
		return
	}
	m.endRebuild()
	if runs, _ := m.state.History.Runs(); runs > rebuildSync || m.sweepSome(rebuildSync) {
		m.chores.Go(m.sweepUnknown)
	}
}

// rebuild is the same in the background, until all are there. Meanwhile a run that isn't in
// the index is found by its files.
func (m *Manager) rebuild() {
	for m.indexAll(); len(m.state.Survey.Unindexed) > 0; m.indexAll() {
		select {
		case <-time.After(rebuildEvery):
		case <-m.quit:
			return
		}
	}
	if isClosed(m.quit) {
		return
	}
	m.endRebuild()
	runs, _ := m.state.History.Runs()
	m.log.Info("the index of finished runs is complete again", "runs", runs)
	m.sweepUnknown()
}

// indexAll leaves in Unindexed what can't be put into the index now.
func (m *Manager) indexAll() {
	var (
		all    errgroup.Group
		mu     sync.Mutex
		left   []string
		failed error
	)
	all.SetLimit(rebuildAtOnce)
	for _, id := range m.state.Survey.Unindexed {
		all.Go(func() error {
			if isClosed(m.quit) {
				return nil
			}
			if err := m.indexRun(id); err != nil {
				mu.Lock()
				defer mu.Unlock()
				left, failed = append(left, id), err
			}
			return nil
		})
	}
	_ = all.Wait()
	m.state.Survey.Unindexed = left
	if failed != nil {
		m.log.Warn("runs not indexed: lists are incomplete", "runs", len(left), "again_in", rebuildEvery, "err", failed)
	}
}

func (m *Manager) endRebuild() {
	m.state.History.Sort()
	m.complete.Store(true)
}

// indexRun puts a run into the index whose record says that it has ended.
func (m *Manager) indexRun(id string) error {
	r, err := m.recoverRun(m.state.Run(id))
	if r != nil { // its record said something else a moment ago
		m.addLive(r)
	}
	return err
}

// sweepUnknown removes directories of runs of which nothing is known: they were never
// started, or only the index knew of them and has lost it.
func (m *Manager) sweepUnknown() { m.sweepSome(math.MaxInt) }

// sweepSome is sweepUnknown of so many at most; more tells that there were that many.
func (m *Manager) sweepSome(most int) (more bool) {
	unknown, err := m.state.Unknown(m.isKnown, most)
	if err != nil {
		m.log.Warn("directories of runs not looked at", "err", err)
	}
	for i, id := range unknown {
		if isClosed(m.quit) {
			unknown = unknown[:i]
			break
		}
		if !m.isKnown(id) {
			m.discardUnstarted(m.state.Indexed(id))
		}
	}
	if len(unknown) > 0 {
		m.log.Warn("output of runs removed of which there is no record: they were never started, or only the index knew of them", "runs", len(unknown))
	}
	return len(unknown) == most
}

// isKnown tells of a run of which anything is known: Has, and one that is being removed,
// or whose record can't be read now.
func (m *Manager) isKnown(id string) bool { return m.Has(id) || m.state.History.Holds(id) }

// Has tells of a run that waits, lives, or is kept, from memory; while the index is made
// anew, from the names of files.
func (m *Manager) Has(id string) bool {
	m.mu.Lock()
	_, live := m.live[id]
	m.mu.Unlock()
	return live || m.state.History.Has(id) || !m.complete.Load() && m.state.Run(id).Exists()
}
