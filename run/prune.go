package run

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
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
		select {
		case <-tick.C:
		case <-m.full:
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
	var durable []string
	for _, r := range old {
		if r.fingerprint != nil {
			durable = append(durable, r.id)
		}
	}
	if err := m.pruned.Save(durable); err != nil {
		m.log.Warn("runs that are not kept any more: a later daemon won't know them", "err", err)
	}
	// Several at once: on a slow disk one after the other is slower than runs end.
	var removals errgroup.Group
	removals.SetLimit(pruneAtOnce)
	var gone atomic.Int64
	for _, r := range old {
		removals.Go(func() error {
			if err := r.dir.Remove(); err != nil {
				m.keepOn(r, now.Add(removeEvery), err)
			} else {
				gone.Add(1)
			}
			return nil
		})
	}
	_ = removals.Wait()
	return int(gone.Load())
}

// keepOn takes a run back into the registry that can't be removed yet.
func (m *Manager) keepOn(r *Run, until time.Time, err error) {
	r.log.Warn("old run not removed", "again_in", removeEvery, "err", err)
	m.mu.Lock()
	defer m.mu.Unlock()
	r.retryRemovalAt = until
	m.kept.putBack(r)
}

// retrySaves writes the final records for which there was no room: the next daemon
// would take such a run for lost.
func (m *Manager) retrySaves() {
	for _, r := range append(m.all(), m.finishedRuns()...) {
		if r.unsaved.Load() && r.dir.Save(r.Record()) == nil {
			r.unsaved.Store(false)
			r.log.Info("record saved at last")
		}
	}
}

// expire forgets sessions that were not used for KeepSessions.
func (m *Manager) expire(now time.Time) {
	for _, s := range m.sessions.list("") {
		if now.Sub(s.Updated) <= m.o.KeepSessions || isClosed(m.quit) {
			continue
		}
		m.expireOne(s, now)
	}
}

func (m *Manager) expireOne(s Session, now time.Time) {
	key := sessionKey(s.Client, s.Session)
	release, ok := m.sessionLocks.tryAcquire(key)
	if !ok {
		return
	}
	defer release()
	if known, _ := m.sessions.get(key); now.Sub(known.Updated) <= m.o.KeepSessions {
		return // it was used in between
	}
	if err := m.sessions.forget(key); err != nil && !errors.Is(err, ErrNoSession) {
		m.log.Warn("unused session not removed", "session", s.Session, "client", s.Client, "err", err)
	}
}

// notAhead is when a run of an earlier daemon is taken to have ended. A record
// dated ahead is as old as this daemon: the clock was wrong then, or is now.
func notAhead(now, finished time.Time) time.Time { return now.Add(-max(0, now.Sub(finished))) }

// takeExpired takes runs out of the registry, more than are beyond what is kept where
// so many bytes are needed.
func (m *Manager) takeExpired(now time.Time, need int64, spare time.Duration) []*Run {
	m.mu.Lock()
	defer m.mu.Unlock()
	var old []*Run
	left := m.kept.runs()
	for r := range m.kept.all() {
		fits := left <= m.o.KeepRuns && m.kept.bytes <= m.o.KeepBytes
		age := now.Sub(r.endedAt)
		if len(old) == pruneMax || fits && (need <= 0 || age < spare) && age <= m.o.Keep {
			break
		}
		left--
		if now.Before(r.retryRemovalAt) {
			continue
		}
		c := r.Record()
		// Before it is unknown: its request may come at any moment.
		m.pruned.Add(r.id, c.Client, r.fingerprint)
		m.kept.remove(r.id)
		old = append(old, r)
		need -= c.OutputBytes + recordSize
	}
	return old
}

// Pruned tells whether a durable run of that id and of the same request has ended
// and is not kept any more; of so many, the newest.
func (m *Manager) Pruned(id, client string, fingerprint []byte) bool {
	return m.pruned.Has(id, client, fingerprint)
}
