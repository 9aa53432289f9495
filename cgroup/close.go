package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/cgroup/root"
)

// closeBound is how long Close tries where ctx sets no deadline.
const closeBound = 10 * time.Second

// Close ends every run that is still there, moves the daemon back to the group
// it came from and removes what Open made. It is bounded by ctx (10 s where ctx
// sets nothing) and names what is left.
func (t *Tree) Close(ctx context.Context) error {
	return t.shutdown(ctx, func(*Group) bool { return true })
}

// Abandon is Close for a start that comes to nothing: of the runs it ends only
// those whose groups were made here. What an earlier daemon left, adopted or
// not, stays as it was, with all it stands on.
func (t *Tree) Abandon(ctx context.Context) error {
	return t.shutdown(ctx, func(g *Group) bool { return g.made })
}

func (t *Tree) shutdown(ctx context.Context, ends func(*Group) bool) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	ctx, cancel := bounded(ctx, closeBound)
	defer cancel()

	// The janitors go first, so that only one hand works on a group.
	close(t.stop)
	t.workers.Wait()
	var end []*Group
	var errs []error
	for _, g := range t.liveGroups() {
		if ends(g) {
			end = append(end, g)
		} else {
			errs = append(errs, g.close())
		}
	}
	errs = append(errs, t.endAll(ctx, end))
	if err := errors.Join(append(errs, t.root.Rollback(ctx, t.isMade))...); err != nil {
		return fmt.Errorf("close cgroup root %s: %w", t.Path(), err)
	}
	return nil
}

// endAll kills groups together, then waits for and removes each.
func (t *Tree) endAll(ctx context.Context, groups []*Group) error {
	var errs []error
	for _, g := range groups {
		errs = append(errs, g.Kill())
	}
	for _, g := range groups {
		if err := g.WaitEmpty(ctx); err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, g.Remove(ctx))
	}
	return errors.Join(errs...)
}

// bounded gives ctx a deadline where it has none.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// Detach closes the root and touches nothing: every group, its processes and the
// daemon itself stay where they are, for the Open that follows, which is to be
// given the Origin.
func (t *Tree) Detach() (root.Origin, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return root.Origin{}, nil
	}
	t.closed = true
	t.mu.Unlock()
	close(t.stop)
	t.workers.Wait()
	var errs []error
	for _, g := range t.liveGroups() {
		errs = append(errs, g.close())
	}
	origin, err := t.root.Detach()
	return origin, errors.Join(append(errs, err)...)
}
