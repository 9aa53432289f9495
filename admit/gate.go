package admit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Gate hands out slots. Safe for concurrent use.
type Gate struct {
	options Options

	mu       sync.Mutex
	draining bool
	running  int
	runs     map[string]int // running, by client; never 0
	reserved int64          // bytes, by running slots
	queue    queue
	holds    holds
}

const mib = 1 << 20

// New makes a Gate with nothing running.
func New(o Options) *Gate {
	return &Gate{options: o, runs: map[string]int{}, holds: holds{live: map[*Slot]time.Time{}}}
}

// Acquire waits for a slot. The error is a *Refused, or ctx.Err() when ctx
// ended first: then no slot was taken, even if one was just being granted.
func (g *Gate) Acquire(ctx context.Context, a Ask) (*Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w, err := g.enter(a)
	if err != nil {
		return nil, err
	}
	return g.wait(ctx, w)
}

// enter grants at once or finds a place in the client's queue.
func (g *Gate) enter(a Ask) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if err := g.refuse(a, now); err != nil {
		return nil, err
	}
	w := &waiter{ask: a, since: now, done: make(chan struct{}), moved: make(chan int, 1)}
	g.queue.push(w)
	g.dispatch(now)
	if w.slot == nil && g.queue.place(w) > g.options.MaxWaiting {
		waiting := g.queue.place(w) - 1
		g.queue.remove(w)
		return nil, &Refused{
			Reason: QueueFull, RetryAfter: g.retryAfter(a.Client, now),
			Detail: fmt.Sprintf("%s, and %s already", g.why(a.Client), count(waiting, "request of this client waits", "requests of this client wait")),
		}
	}
	return w, nil
}

// refuse says what waiting can't cure.
func (g *Gate) refuse(a Ask, now time.Time) error {
	switch {
	case g.draining:
		return g.leaving()
	case g.options.Budget > 0 && a.Memory > g.options.Budget:
		return &Refused{Reason: OverBudget, Detail: fmt.Sprintf(
			"a run of %d MiB can never fit the budget of %d MiB: lower limits.memory_max", (a.Memory+mib-1)/mib, g.options.Budget/mib)}
	case !a.Deadline.IsZero() && !now.Before(a.Deadline):
		return g.late(a.Client, now)
	}
	return nil
}

// dispatch grants as long as somebody fits. The caller holds the lock.
func (g *Gate) dispatch(now time.Time) {
	if g.draining {
		return
	}
	for {
		w := g.queue.next(g.capped, g.fits)
		if w == nil {
			return
		}
		g.running++
		g.runs[w.ask.Client]++
		g.reserved += w.ask.Memory
		w.slot = &Slot{gate: g, client: w.ask.Client, memory: w.ask.Memory, waited: now.Sub(w.since)}
		g.holds.begin(w.slot, now)
		close(w.done)
	}
}

// capped is true while a client has as many runs as it may have.
func (g *Gate) capped(client string) bool {
	most := g.options.ClientRuns[client]
	return most > 0 && g.runs[client] >= most
}

// fits is true when a slot and the memory for an ask are free.
func (g *Gate) fits(a Ask) bool {
	if g.options.MaxRuns > 0 && g.running >= g.options.MaxRuns {
		return false
	}
	return g.options.Budget <= 0 || a.Memory <= g.options.Budget-g.reserved
}

// Drain refuses everything new and everything that waits with ShuttingDown.
// Slots that were granted stay so.
func (g *Gate) Drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = true
	for _, w := range g.queue.clear() {
		w.err = g.leaving()
		close(w.done)
	}
}

// Stats tells the present state.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Stats{
		Running: g.running, MaxRuns: g.options.MaxRuns,
		Reserved: g.reserved, Budget: g.options.Budget, WaitingBy: map[string]int{},
	}
	if g.options.DefaultMemory > 0 && g.options.Budget > 0 {
		if n := int(g.options.Budget / g.options.DefaultMemory); s.MaxRuns == 0 || n < s.MaxRuns {
			s.MaxRuns = n
		}
	}
	now := time.Now()
	for _, l := range g.queue.ring {
		s.Waiting += len(l.waiters)
		s.WaitingBy[l.client] = len(l.waiters)
		s.OldestWait = max(s.OldestWait, now.Sub(l.waiters[0].since))
	}
	return s
}
