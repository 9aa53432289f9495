// Package backoff waits between tries: the same pause each time, or twice the last
// one up to a bound, and no longer than a context lives.
//
//	b := backoff.Policy{First: 250 * time.Millisecond, Max: 5 * time.Second}
//	for try := 0; ; try++ {
//		if err := do(); err == nil {
//			return nil
//		}
//		if err := b.Wait(ctx, try); err != nil {
//			return err
//		}
//	}
package backoff

import (
	"context"
	"time"
)

// Policy is how long to wait: First before the second try, then twice as long each
// time, Max at most. A Max of 0 is First: the pause stays.
type Policy struct{ First, Max time.Duration }

// Delay is the pause after a try, counted from 0.
func (p Policy) Delay(try int) time.Duration {
	d := p.First
	for range try {
		if d >= p.Max {
			break
		}
		d *= 2
	}
	return min(d, max(p.First, p.Max))
}

// Wait pauses after a try, and returns the context's cause if that ends first.
func (p Policy) Wait(ctx context.Context, try int) error {
	timer := time.NewTimer(p.Delay(try))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
