package run

import (
	"slices"
	"time"
)

const (
	pruneEvery = time.Minute
	pruneMax   = 256 // removals in one go
)

// tidy removes old runs in the background.
func (m *Manager) tidy() {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		for m.prune(time.Now()) == pruneMax && !isClosed(m.quit) {
		}
		select {
		case <-tick.C:
		case <-m.full:
		case <-m.quit:
			return
		}
	}
}

// prune forgets finished runs that are older than Keep or beyond KeepRuns,
// oldest first, at most pruneMax. It tells how many.
func (m *Manager) prune(now time.Time) int {
	old := m.outdated(now)
	for _, r := range old {
		if err := r.dir.remove(); err != nil {
			r.log.Warn("old run not removed", "err", err)
		}
	}
	return len(old)
}

// outdated takes runs out of the registry.
func (m *Manager) outdated(now time.Time) []*Run {
	type aged struct {
		run *Run
		at  time.Time
	}
	var past []aged
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.runs {
		if isClosed(r.done) {
			c := r.Record()
			past = append(past, aged{r, c.finishedAt()})
		}
	}
	slices.SortFunc(past, func(a, b aged) int { return a.at.Compare(b.at) })
	var old []*Run
	for i, p := range past {
		if len(old) == pruneMax || (len(past)-i <= m.o.KeepRuns && now.Sub(p.at) <= m.o.Keep) {
			break
		}
		delete(m.runs, p.run.id)
		old = append(old, p.run)
	}
	return old
}
