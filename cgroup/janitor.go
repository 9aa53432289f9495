package cgroup

import (
	"context"
	"errors"
	"time"
)

const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// janitor keeps at a group that could not be removed in time.
func (r *Root) janitor(g *Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.leaked[g]; ok || r.closed {
		return
	}
	r.leaked[g] = struct{}{}
	r.workers.Go(g.retryRemove)
}

// retryRemove is the janitor's work on one group.
func (g *Group) retryRemove() {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		select {
		case <-g.root.stop:
			return
		case <-time.After(pause):
		}
		g.root.retries.Add(1)
		ctx, cancel := context.WithTimeout(context.Background(), pause)
		err := errors.Join(g.Kill(), g.remove(ctx))
		cancel()
		if g.isGone() {
			g.root.log.Info("leaked group removed", "group", g.id)
			return
		}
		g.root.log.Warn("group can't be removed, trying on", "group", g.id, "error", err)
	}
}
