package run

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"penstock/run/history"
	"penstock/run/store"
)

const (
	pruneEvery = time.Minute
	pruneMax   = 256 // removals in one go
	// pruneSlack is the part of what is kept, one in so many, by which it may be passed:
	// removals come in batches then, not one with each end.
	pruneSlack = 20
	// pruneAtOnce is how many of them at a time.
	pruneAtOnce = 8
	// removeEvery is how often a removal that fails is tried.
	removeEvery = time.Hour
)

// pruneLoop removes old runs in the background.
func (m *Manager) pruneLoop() {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	m.emptyTrash()
	emptied := time.Now()
	for {
		if time.Since(emptied) >= removeEvery {
			m.emptyTrash()
			emptied = time.Now()
		}
		for m.prune(time.Now()) == pruneMax && !isClosed(m.quit) {
		}
		m.expire(time.Now())
		m.retrySaves()
		m.discardDue(time.Now())
		select {
		case <-tick.C:
		case <-m.full:
		case <-m.due:
		case <-m.quit:
			return
		}
	}
}

func (m *Manager) emptyTrash() {
	if err := m.state.EmptyTrash(); err != nil {
		m.log.Warn("trash not emptied", "again_in", removeEvery, "err", err)
	}
}

// prune forgets finished runs that are older than Keep or beyond KeepRuns
// and KeepBytes, oldest first, at most pruneMax. It tells how many. What can't be removed stays
// known, and is tried again later.
func (m *Manager) prune(now time.Time) (removed int) { return m.pruneFor(now, 0, 0) }

// pruneFor is prune that also takes the oldest runs until so many bytes are free, of
// those that ended longer ago than spare.
func (m *Manager) pruneFor(now time.Time, bytes int64, spare time.Duration) (removed int) {
	old := m.takeExpired(now, bytes, spare)
	if len(old) == 0 {
		return 0
	}
	gone := m.removeFiles(old, func(id string, err error) { m.keepOn(id, now.Add(removeEvery), err) })
	return len(gone)
}

// removeFiles removes what there is of runs that are out of sight, and forgets them; it tells
// which. failed is called for each other, by several goroutines.
func (m *Manager) removeFiles(old []history.Entry, failed func(id string, err error)) (gone []string) {
	var durable []string
	for _, e := range old {
		if e.Filed {
			durable = append(durable, e.ID)
		}
	}
	notSaved := m.pruned.Save(durable)
	// Several at once: on a slow disk one after the other is slower than runs end.
	var removals errgroup.Group
	removals.SetLimit(pruneAtOnce)
	gone = make([]string, len(old))
	for i, e := range old {
		removals.Go(func() error {
			dir := m.state.Indexed(e.ID)
			if e.Filed {
				dir = m.state.Run(e.ID)
			}
			err := dir.Remove()
			if e.Asked {
				err = errors.Join(err, dir.RemoveAsked())
			}
			err = errors.Join(err, m.forgetDiscard(e.ID))
			if err != nil {
				failed(e.ID, err)
			} else {
				gone[i] = e.ID
			}
			return nil
		})
	}
	_ = removals.Wait()
	if notSaved != nil {
		notSaved = m.pruned.Save(durable) // there may be room for it by now
	}
	if notSaved != nil {
		m.log.Warn("runs that are not kept any more: a later daemon won't know them", "err", notSaved)
	}
	gone = slices.DeleteFunc(gone, func(id string) bool { return id == "" })
	// The index last: what it still has of a run without files is removed again.
	if err := errors.Join(m.state.History.Remove(gone...), m.state.History.Clean()); err != nil {
		m.log.Warn("index not cleaned", "err", err)
	}
	for _, id := range gone {
		m.forgetOfRun(id)
	}
	return gone
}

// keepOn takes a run back into the registry that can't be removed yet.
func (m *Manager) keepOn(id string, until time.Time, err error) {
	m.log.Warn("old run not removed", "run", id, "again_in", removeEvery, "err", err)
	m.mu.Lock()
	m.stuck[id] = until
	m.mu.Unlock()
	m.state.History.Show(id)
}

// takeExpired takes runs out of sight, no more than are beyond what is kept where so
// many bytes are needed.
func (m *Manager) takeExpired(now time.Time, need int64, spare time.Duration) (old []history.Entry) {
	if need <= 0 && !m.complete.Load() {
		return nil // which are the oldest isn't known
	}
	m.pruning.Lock()
	defer m.pruning.Unlock()
	m.mu.Lock()
	spared := make(map[string]bool, len(m.live)+len(m.stuck)) // live: its group is still there
	for id := range m.live {
		spared[id] = true
	}
	for id, until := range m.stuck {
		if now.Before(until) {
			spared[id] = true
		} else {
			delete(m.stuck, id)
		}
	}
	m.mu.Unlock()
	left, bytes := m.state.History.Runs()
	m.state.History.Oldest(func(e history.Entry) bool {
		fits := left <= m.o.KeepRuns && bytes <= m.o.KeepBytes
		age := now.Sub(e.Ended)
		if len(old) == pruneMax || fits && (need <= 0 || age < spare) && age <= m.o.Keep {
			return false
		}
		left--
		if spared[e.ID] {
			return true
		}
		bytes -= e.Bytes
		need -= e.Bytes + recordSize
		old = append(old, e)
		return true
	})
	old = slices.DeleteFunc(old, func(e history.Entry) bool {
		fingerprint, err := m.fingerprintOf(e)
		if err != nil {
			m.keepOn(e.ID, now.Add(removeEvery), err)
			return true
		}
		// Before it is unknown: its request may come at any moment.
		m.pruned.Add(e.ID, e.Client, fingerprint)
		return false
	})
	m.state.History.Hide(idsOf(old)...)
	return old
}

// fingerprintOf tells a run's request, by which a late one like it is known; nil is that
// there is none. An error is the host's: without an answer the request would be run again.
func (m *Manager) fingerprintOf(e history.Entry) ([]byte, error) {
	if !e.Filed {
		return nil, nil
	}
	kept, err := m.readIndexed(e.ID)
	if err == nil {
		return kept.Fingerprint, nil
	}
	m.log.Warn("what is kept of a run can't be read: its files are asked", "run", e.ID, "err", err)
	found, err := m.state.Run(e.ID).Recall()
	switch {
	case store.IsTransient(err):
		return nil, err
	case found.Checkpoint == nil:
		return nil, nil
	}
	return found.Checkpoint.Fingerprint, nil
}

func idsOf(all []history.Entry) []string {
	ids := make([]string, len(all))
	for i, e := range all {
		ids[i] = e.ID
	}
	return ids
}

// Pruned tells whether a durable run of that id and of the same request has ended
// and is not kept any more; of so many, the newest.
func (m *Manager) Pruned(id, client string, fingerprint []byte) bool {
	return m.pruned.Has(id, client, fingerprint)
}
