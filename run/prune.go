package run

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	pruneEvery = time.Minute
	pruneMax   = 256 // removals in one go
	// pruneAtOnce is how many of them at a time.
	pruneAtOnce = 8
	// removeEvery is how often a removal that fails is tried.
	removeEvery = time.Hour
)

// tidy removes old runs in the background.
func (m *Manager) tidy() {
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
		m.saveAgain()
		select {
		case <-tick.C:
		case <-m.full:
		case <-m.quit:
			return
		}
	}
}

func (m *Manager) emptyTrash() {
	if err := m.state.emptyTrash(); err != nil {
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
	old := m.outdated(now, bytes, spare)
	if err := m.pruned.save(old); err != nil {
		m.log.Warn("runs that are not kept any more: a later daemon won't know them", "err", err)
	}
	// Several at once: on a slow disk one after the other is slower than runs end.
	var removals errgroup.Group
	removals.SetLimit(pruneAtOnce)
	var gone atomic.Int64
	for _, r := range old {
		removals.Go(func() error {
			if err := r.dir.remove(); err != nil {
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
	r.keptUntil = until
	m.runs[r.id] = r
}

// saveAgain writes the final records for which there was no room: the next daemon
// would take such a run for lost.
func (m *Manager) saveAgain() {
	for _, r := range m.all() {
		if r.unsaved.Load() && r.dir.save(r.Record()) == nil {
			r.unsaved.Store(false)
			r.log.Info("record saved at last")
		}
	}
}

// expire forgets sessions that nobody has used for KeepSessions.
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
	release, ok := m.turns.try(key)
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

// retiredAt is when a run of an earlier daemon is taken to have ended. A record
// dated ahead is as old as this daemon: the clock was wrong then, or is now.
func retiredAt(now, finished time.Time) time.Time { return now.Add(-max(0, now.Sub(finished))) }

// outdated takes runs out of the registry, more than are beyond what is kept where
// so many bytes are needed.
func (m *Manager) outdated(now time.Time, need int64, spare time.Duration) []*Run {
	type aged struct {
		run  *Run
		at   time.Time // by a clock that is never set, see retiredAt
		size int64
	}
	var past []aged
	var kept int64
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.runs {
		if isClosed(r.done) && !isClosed(r.left) { // what was left lives on
			c := r.Record()
			past = append(past, aged{r, r.retired, c.OutputBytes})
			kept += c.OutputBytes
		}
	}
	slices.SortFunc(past, func(a, b aged) int { return a.at.Compare(b.at) })
	var old []*Run
	for i, p := range past {
		fits := len(past)-i <= m.o.KeepRuns && kept <= m.o.KeepBytes
		if len(old) == pruneMax || fits && (need <= 0 || now.Sub(p.at) < spare) && now.Sub(p.at) <= m.o.Keep {
			break
		}
		if now.Before(p.run.keptUntil) {
			continue
		}
		m.pruned.add(p.run) // before it is unknown: its request may come at any moment
		delete(m.runs, p.run.id)
		old = append(old, p.run)
		kept -= p.size
		need -= p.size + recordSize
	}
	m.kept = kept
	return old
}
