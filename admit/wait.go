package admit

import (
	"context"
	"time"
)

// waiter is one ask on its way to a slot. slot and err are set under the
// gate's lock before done is closed.
type waiter struct {
	ask       Ask
	since     time.Time
	passed    int // grants to others since it headed its line and did not fit
	position  int // as last noted
	positions chan int
	done      chan struct{}
	slot      *Slot
	err       error
}

// notePosition leaves the position for the waiting goroutine; only the latest counts.
func (w *waiter) notePosition(at int) {
	if w.position == at {
		return
	}
	w.position = at
	select {
	case <-w.positions:
	default:
	}
	w.positions <- at
}

// wait blocks until the ask is decided, its time is up, or ctx ends.
func (g *Gate) wait(ctx context.Context, w *waiter) (*Slot, error) {
	select {
	case <-w.done:
		return g.collect(ctx, w)
	default:
	}
	limit := time.NewTimer(g.maxWait(w))
	defer limit.Stop()
	for {
		select {
		case <-w.done:
			return g.collect(ctx, w)
		case at := <-w.positions:
			if w.ask.OnPosition != nil {
				w.ask.OnPosition(at)
			}
		case <-ctx.Done():
			return g.withdraw(ctx, w)
		case <-limit.C:
			return g.withdraw(ctx, w)
		}
	}
}

// maxWait is how long an ask may wait: the queue's bound or its own deadline.
func (g *Gate) maxWait(w *waiter) time.Duration {
	d := g.options.MaxWait
	if !w.ask.Deadline.IsZero() {
		if left := time.Until(w.ask.Deadline); left < d || d <= 0 {
			d = left
		}
	} else if d <= 0 {
		d = time.Duration(1<<63 - 1)
	}
	return d
}

// collect hands over what was decided, unless its request has ended or is too late
// by now: such a slot goes to the next one.
func (g *Gate) collect(ctx context.Context, w *waiter) (*Slot, error) {
	if w.err != nil {
		return nil, w.err
	}
	if err := ctx.Err(); err != nil {
		w.slot.releaseUnused()
		return nil, err
	}
	if !w.ask.Deadline.IsZero() && !time.Now().Before(w.ask.Deadline) {
		w.slot.releaseUnused()
		g.mu.Lock()
		defer g.mu.Unlock()
		return nil, g.refuseTimeout(w.ask.Client, time.Now())
	}
	return w.slot, nil
}

// withdraw leaves the queue because ctx ended or time was up. A decision that
// came first is collected instead.
func (g *Gate) withdraw(ctx context.Context, w *waiter) (*Slot, error) {
	g.mu.Lock()
	select {
	case <-w.done:
		g.mu.Unlock()
		return g.collect(ctx, w)
	default:
	}
	defer g.mu.Unlock()
	now := time.Now()
	g.queue.remove(w)
	// It may have been the one that room was kept for.
	g.dispatch(now)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, g.refuseTimeout(w.ask.Client, now)
}
