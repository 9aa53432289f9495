package admit

import (
	"sync"
	"time"
)

// Slot is the right to have one live run. Hold it until the run's group is gone.
type Slot struct {
	gate    *Gate
	client  string
	backend string
	memory  int64
	waited  time.Duration
	once    sync.Once
}

// Waited is how long the ask stood in the queue.
func (s *Slot) Waited() time.Duration { return s.waited }

// Learn takes in the memory peak of the slot's run, in bytes, as its receipt
// tells it. Safe for concurrent use.
func (s *Slot) Learn(peak int64) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	s.gate.peaks.learn(s.backend, peak)
}

// Release gives the slot on. Idempotent, and safe for concurrent use.
func (s *Slot) Release() { s.end(true) }

// releaseUnused releases a slot that no run used: it says nothing about how long
// slots are held.
func (s *Slot) releaseUnused() { s.end(false) }

func (s *Slot) end(used bool) {
	s.once.Do(func() {
		g := s.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		now := time.Now()
		g.account(s, -1)
		g.holdTimes.end(s, now, used)
		g.dispatch(now)
	})
}
