package admit

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Gate hands out slots. Safe for concurrent use.
type Gate struct {
	options Options // Budget is mu's

	mu        sync.Mutex
	draining  bool
	paused    string // why starts are held back
	outside   int64  // bytes of the budget that no run may have
	outsideAt string // where they are
	running   int
	reserved  int64                // bytes, by running slots
	used      map[string]clientUse // by client; one without a run is not in it
	queue     queue
	peaks     peaks
	holdTimes holdTimes
}

const mib = 1 << 20

// New makes a Gate with nothing running.
func New(o Options) *Gate {
	o.Clients = maps.Clone(o.Clients)
	g := &Gate{options: o, used: map[string]clientUse{}, peaks: peaks{}, holdTimes: holdTimes{live: map[*Slot]time.Time{}}}
	g.queue.turns = turns{weight: func(client string) int { return o.Clients[client].Weight }, passes: map[string]uint64{}}
	return g
}

// Acquire waits for a slot. The error is a *Refused, or ctx.Err() when ctx
// ended first: then no slot was taken, even if one was just being granted.
func (g *Gate) Acquire(ctx context.Context, a Ask) (*Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w, err := g.enqueue(a)
	if err != nil {
		return nil, err
	}
	return g.wait(ctx, w)
}

// Adopt books a run that lives already, whatever is free: one that an earlier
// daemon has started.
func (g *Gate) Adopt(a Ask) *Slot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &Slot{gate: g, client: a.Client, backend: a.Backend, memory: a.Memory}
	g.account(s, 1)
	g.holdTimes.begin(s, time.Now())
	return s
}

// enqueue grants at once or finds a position in the client's queue.
func (g *Gate) enqueue(a Ask) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if err := g.refuse(a, now); err != nil {
		return nil, err
	}
	w := &waiter{ask: a, since: now, done: make(chan struct{}), positions: make(chan int, 1)}
	g.queue.push(w)
	g.dispatch(now)
	if w.slot == nil && g.queue.position(w) > g.options.MaxWaiting {
		waiting := g.queue.position(w) - 1
		g.queue.remove(w)
		return nil, &Refused{
			Reason: QueueFull, RetryAfter: g.retryAfter(a.Client, now),
			Detail: fmt.Sprintf("%s, and %s already", g.waitReason(a.Client), count(waiting, "request of this client waits", "requests of this client wait")),
		}
	}
	return w, nil
}

// refuse says what waiting can't cure.
func (g *Gate) refuse(a Ask, now time.Time) error {
	switch {
	case g.draining:
		return g.refuseShutdown()
	case g.neverFits(a) != "":
		return &Refused{Reason: OverBudget, Detail: g.neverFits(a)}
	case !a.Deadline.IsZero() && !now.Before(a.Deadline):
		return g.refuseTimeout(a.Client, now)
	}
	return nil
}

// dispatch grants as long as a waiter fits. The caller holds the lock.
func (g *Gate) dispatch(now time.Time) {
	if g.draining {
		return
	}
	for {
		w := g.queue.next(g.capped, g.fits, g.neverFits)
		if w == nil {
			return
		}
		w.slot = &Slot{gate: g, client: w.ask.Client, backend: w.ask.Backend, memory: g.reservation(w.ask), waited: now.Sub(w.since)}
		g.account(w.slot, 1)
		g.holdTimes.begin(w.slot, now)
		close(w.done)
	}
}

// Pause keeps new starts back, and says why, until it is called with "". A run
// may still start while no other runs, so that there is always progress. Safe
// for concurrent use.
func (g *Gate) Pause(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = why
	g.dispatch(time.Now())
}

// SetBudget changes the budget; 0 is unlimited. What runs holds its reservation.
// Safe for concurrent use.
func (g *Gate) SetBudget(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.options.Budget = bytes
	g.dispatch(time.Now())
}

// ReserveOutside takes bytes out of the budget: what finished runs have left in memory
// file systems stays charged to all runs together, and a run that is given it
// would be killed for it. where is told to those that wait for it. Safe for concurrent use.
func (g *Gate) ReserveOutside(bytes int64, where string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.outside, g.outsideAt = max(0, bytes), where
	g.dispatch(time.Now())
}

// Drain refuses everything new and everything that waits with ShuttingDown.
// Slots that were granted stay so.
func (g *Gate) Drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = true
	for _, w := range g.queue.clear() {
		w.err = g.refuseShutdown()
		close(w.done)
	}
}

// Stats tells the present state.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Stats{
		Running: g.running, MaxRuns: g.options.MaxRuns,
		Reserved: g.reserved, Budget: g.options.Budget, WaitingBy: map[string]int{}, Paused: g.paused,
		Outside: g.outside, OutsideAt: g.outsideAt, Exhausted: g.exhausted(g.options.DefaultMemory),
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
