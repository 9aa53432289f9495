package admit

import (
	"sync"
	"time"
)

// Slot is the right to have one live run. Hold it until the run's group is gone.
type Slot struct {
	gate   *Gate
	client string
	memory int64
	waited time.Duration
	once   sync.Once
}

// Waited is how long the ask stood in the queue.
func (s *Slot) Waited() time.Duration { return s.waited }

// Release gives the slot on. Idempotent, and safe for concurrent use.
func (s *Slot) Release() { s.end(true) }

// giveBack releases a slot that nobody used: it says nothing about how long
// slots are held.
func (s *Slot) giveBack() { s.end(false) }

func (s *Slot) end(used bool) {
	s.once.Do(func() {
		g := s.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		now := time.Now()
		g.running--
		if g.runs[s.client]--; g.runs[s.client] == 0 {
			delete(g.runs, s.client)
		}
		g.reserved -= s.memory
		g.holds.end(s, now, used)
		g.dispatch(now)
	})
}
