package admit

import (
	"context"
	"time"
)

// waiter is one ask on its way to a slot. slot and err are set under the
// gate's lock before done is closed.
type waiter struct {
	ask    Ask
	since  time.Time
	passed int // grants to others since it headed its line and did not fit
	place  int // as last told
	moved  chan int
	done   chan struct{}
	slot   *Slot
	err    error
}

// tell leaves the place for the waiting goroutine; only the latest counts.
func (w *waiter) tell(place int) {
	if w.place == place {
		return
	}
	w.place = place
	select {
	case <-w.moved:
	default:
	}
	w.moved <- place
}

// wait blocks until the ask is decided, its time is up, or ctx ends.
func (g *Gate) wait(ctx context.Context, w *waiter) (*Slot, error) {
	select {
	case <-w.done:
		return g.settle(ctx, w)
	default:
	}
	limit := time.NewTimer(g.patience(w))
	defer limit.Stop()
	for {
		select {
		case <-w.done:
			return g.settle(ctx, w)
		case place := <-w.moved:
			if w.ask.Moved != nil {
				w.ask.Moved(place)
			}
		case <-ctx.Done():
			return g.giveUp(ctx, w)
		case <-limit.C:
			return g.giveUp(ctx, w)
		}
	}
}

// patience is how long an ask may wait: the queue's bound or its own deadline.
func (g *Gate) patience(w *waiter) time.Duration {
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

// settle hands over what was decided, unless the asker has gone or is too late
// by now: such a slot goes to the next one.
func (g *Gate) settle(ctx context.Context, w *waiter) (*Slot, error) {
	if w.err != nil {
		return nil, w.err
	}
	if err := ctx.Err(); err != nil {
		w.slot.giveBack()
		return nil, err
	}
	if !w.ask.Deadline.IsZero() && !time.Now().Before(w.ask.Deadline) {
		w.slot.giveBack()
		g.mu.Lock()
		defer g.mu.Unlock()
		return nil, g.late(w.ask.Client, time.Now())
	}
	return w.slot, nil
}

// giveUp leaves the queue because ctx ended or time was up. A decision that
// came first is settled instead.
func (g *Gate) giveUp(ctx context.Context, w *waiter) (*Slot, error) {
	g.mu.Lock()
	select {
	case <-w.done:
		g.mu.Unlock()
		return g.settle(ctx, w)
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
	return nil, g.late(w.ask.Client, now)
}
