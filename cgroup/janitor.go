package cgroup

import (
	"context"
	"errors"
	"time"
)

const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
	// lastTry is how long one retry lasts at most.
	lastTry = 50 * time.Millisecond
	// firstWarning is when the log hears of a group a second time, lastTold how
	// often at least later on.
	firstWarning = 5 * time.Second
	lastWarning  = 10 * time.Minute
)

// startJanitor keeps at a group that could not be removed in time.
func (t *Tree) startJanitor(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.leaked[g]; ok || t.closed {
		return
	}
	t.leaked[g] = struct{}{}
	t.workers.Go(g.retryRemove)
}

// retryRemove is the janitor's work on one group. What holds a group for long, a
// process in state D, may do so for hours: the log hears of it ever more rarely.
func (g *Group) retryRemove() {
	begun, tell := time.Now(), time.Duration(0)
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		select {
		case <-g.tree.stop:
			return
		case <-time.After(pause):
		}
		g.tree.retries.Add(1)
		ctx, cancel := context.WithTimeout(context.Background(), min(pause, lastTry))
		err := errors.Join(g.Kill(), g.remove(ctx))
		cancel()
		held := time.Since(begun)
		if g.isGone() {
			g.tree.log.Info("leaked group removed", "group", g.id, "after", held.Round(time.Millisecond))
			return
		}
		if held >= tell {
			g.tree.log.Warn("group can't be removed, trying on", "group", g.id, "for", held.Round(time.Millisecond), "error", err)
			tell = min(max(2*held, firstWarning), held+lastWarning)
		}
	}
}
