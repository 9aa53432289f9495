package root

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"penstock/cgroup/cgroupfs"
)

// rollbackTimeout is how long undoing takes at most. It is a bound of its own: a group
// that can't be emptied must not keep the daemon in a group it can leave.
const rollbackTimeout = 10 * time.Second

// Rollback undoes what Open did, last first; a step that fails doesn't keep
// the others from being tried. What groups that live on stand on stays: those of
// runs that isOurs doesn't know.
func (r *Root) Rollback(ctx context.Context, isOurs func(id string) bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	var errs []error
	try := func(name string, back func(context.Context) error) {
		bounded, cancel := context.WithTimeout(ctx, cgroupfs.RemoveTimeout)
		defer cancel()
		if err := back(bounded); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	lives := r.hasSurvivors(isOurs)
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

// hasSurvivors tells whether a run of an earlier daemon lives on. Where that can't
// be seen it does.
func (r *Root) hasSurvivors(isOurs func(id string) bool) bool {
	left, err := cgroupfs.Children(r.path + "/" + cgroupfs.RunsDir)
	if err != nil {
		return !cgroupfs.IsVanished(err)
	}
	return slices.ContainsFunc(left, func(id string) bool { return !isOurs(id) })
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
