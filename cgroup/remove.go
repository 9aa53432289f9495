package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/cgroup/cgroupfs"
)

// Remove removes the directory and groups below it within a second or ctx. A
// group that refuses goes to the janitor, which kills and retries until it is
// gone or the root is closed; the error then wraps ErrBusy.
func (g *Group) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cgroupfs.RemoveTimeout)
	defer cancel()
	err := g.remove(ctx)
	if err != nil {
		g.tree.startJanitor(g)
		return fmt.Errorf("remove group %s: %w", g.id, err)
	}
	return nil
}

func (g *Group) remove(ctx context.Context) error {
	g.removing.Lock()
	defer g.removing.Unlock()
	if g.isGone() {
		return nil
	}
	err := cgroupfs.WithPerms(func() error { return cgroupfs.RemoveTree(ctx, g.dir.Path) }, func() error { return cgroupfs.RestorePerms(g.dir.Path) })
	if err != nil {
		return err
	}
	err = g.close()
	g.tree.unregister(g)
	close(g.gone)
	return err
}

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
