package cgroup

import (
	"context"
	"fmt"

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
	err = g.dir.Close()
	g.tree.unregister(g)
	close(g.gone)
	return err
}
