package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"penstock/cgroup/cgroupfs"
)

// closeBound is how long Close tries where ctx sets no deadline.
const closeBound = 10 * time.Second

// Close ends every run that is still there, moves the daemon back to the group
// it came from and removes what Open made. It is bounded by ctx (10 s where ctx
// sets nothing) and names what is left.
func (r *Root) Close(ctx context.Context) error {
	return r.shutdown(ctx, func(*Group) bool { return true })
}

// Abandon is Close for a start that comes to nothing: of the runs it ends only
// those whose groups were made here. What an earlier daemon left, adopted or
// not, stays as it was, with all it stands on.
func (r *Root) Abandon(ctx context.Context) error {
	return r.shutdown(ctx, func(g *Group) bool { return g.made })
}

func (r *Root) shutdown(ctx context.Context, ends func(*Group) bool) error {
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
	var end []*Group
	var errs []error
	for _, g := range r.liveGroups() {
		if ends(g) {
			end = append(end, g)
		} else {
			errs = append(errs, g.dir.Close())
		}
	}
	errs = append(errs, r.endAll(ctx, end))
	// Undoing gets its own bound: a group that can't be emptied must not keep
	// the daemon in a group it can leave.
	undo, cancelUndo := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancelUndo()
	if err := errors.Join(append(errs, r.rollback(undo))...); err != nil {
		return fmt.Errorf("close cgroup root %s: %w", r.path, err)
	}
	return nil
}

// rollback undoes what setUp did, last first; a step that fails doesn't keep
// the others from being tried. What groups that live on stand on stays.
func (r *Root) rollback(ctx context.Context) error {
	var errs []error
	try := func(name string, back func(context.Context) error) {
		bounded, cancel := context.WithTimeout(ctx, cgroupfs.RemoveTimeout)
		defer cancel()
		if err := back(bounded); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	lives := r.hasSurvivors()
	if r.runs != nil {
		if lives {
			for file, was := range r.limitsBefore {
				try("restore "+file, func(context.Context) error { return r.runs.Write(file, was) })
			}
		} else {
			try("remove runs", func(ctx context.Context) error { return cgroupfs.RemoveTree(ctx, r.runs.Path) })
		}
		errs = append(errs, r.runs.Close())
	}
	o := r.origin
	for _, s := range slices.Backward(o.Enabled) {
		if !lives {
			try("disable controllers", func(context.Context) error { return r.undoEnable(s) })
		}
	}
	stays := false
	if o.Leaf {
		stays = cannotMoveBack(o.Own)
		if !stays {
			try("move back", func(context.Context) error { return cgroupfs.MoveSelf(o.Own) })
			try("remove leaf", func(ctx context.Context) error { return cgroupfs.RemoveEmpty(ctx, r.path+"/"+cgroupfs.DaemonLeaf) })
		}
	}
	if o.Made && !lives && !stays {
		try("remove root", func(ctx context.Context) error { return cgroupfs.RemoveEmpty(ctx, r.path) })
	}
	r.origin = Origin{}
	return errors.Join(errs...)
}

// hasSurvivors tells whether a run of an earlier daemon lives on after Abandon.
// Where that can't be seen it does.
func (r *Root) hasSurvivors() bool {
	left, err := cgroupfs.Children(r.path + "/" + cgroupfs.RunsDir)
	if err != nil {
		return !cgroupfs.IsVanished(err)
	}
	return slices.ContainsFunc(left, func(id string) bool { return !r.isMade(id) })
}

// undoEnable takes controllers back only when no group beside ours could have
// come to rely on them.
func (r *Root) undoEnable(s Switched) error {
	groups, err := cgroupfs.Children(s.Path)
	if err != nil || slices.ContainsFunc(groups, func(n string) bool { return !r.owns(s.Path + "/" + n) }) {
		return err
	}
	return cgroupfs.Disable(s.Path, s.Controllers)
}

func (r *Root) owns(path string) bool {
	return path == r.path || path == r.path+"/"+cgroupfs.DaemonLeaf || path == r.path+"/"+cgroupfs.RunsDir
}

// cannotMoveBack tells whether the group the daemon came from can't hold it any more:
// its controllers are on, for a run that lives on, or for another's group
// (systemd 252 keeps .control below a unit that was reloaded). What is ours then
// goes with the group itself.
func cannotMoveBack(path string) bool {
	on, err := cgroupfs.Enabled(path)
	return err == nil && len(on) > 0 && !cgroupfs.IsRealRoot(path)
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
