package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// closeBound is how long Close tries where ctx sets no deadline.
const closeBound = 10 * time.Second

// step is one change of the tree that can be taken back.
type step struct {
	name string
	back func(context.Context) error
}

func (r *Root) later(s step) { r.undo = append(r.undo, s) }

// takeBack undoes what setUp did, last first; a step that fails doesn't keep
// the others from being tried.
func (r *Root) takeBack(ctx context.Context) error {
	var errs []error
	for _, s := range slices.Backward(r.undo) {
		bounded, cancel := context.WithTimeout(ctx, removeBound)
		if err := s.back(bounded); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		cancel()
	}
	r.undo = nil
	return errors.Join(errs...)
}

// Close ends every run that is still there, moves the daemon back to the group
// it came from and removes what Open made. It is bounded by ctx (10 s where ctx
// sets nothing) and names what is left.
func (r *Root) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	ctx, cancel := bounded(ctx, closeBound)
	defer cancel()

	// The janitors go first, so that only one hand works on a group.
	close(r.stop)
	r.workers.Wait()
	err := r.endAll(ctx, r.live())
	// Undoing gets its own bound: a group that can't be emptied must not keep
	// the daemon in a group it can leave.
	undo, cancelUndo := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancelUndo()
	if err = errors.Join(err, r.takeBack(undo)); err != nil {
		return fmt.Errorf("close cgroup root %s: %w", r.path, err)
	}
	return nil
}

// endAll kills groups together, then waits for and removes each.
func (r *Root) endAll(ctx context.Context, groups []*Group) error {
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
