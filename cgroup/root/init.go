package root

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

// initRoot makes a site into a root, or takes back all it did.
func initRoot(ctx context.Context, here cgroupfs.Location, s rootSite, source string, o Options) (*Root, error) {
	r := &Root{path: s.path, top: here.Mount.Point, source: source, mode: o.Mode, log: o.Logger, origin: startOrigin(here, s, o.Origin)}
	if err := r.make(here, s); err != nil {
		none := func(string) bool { return false }
		if undoErr := r.Rollback(context.WithoutCancel(ctx), none); undoErr != nil {
			err = errors.Join(err, fmt.Errorf("close cgroup root %s: %w", r.path, undoErr))
		}
		return nil, err
	}
	return r, nil
}

func (r *Root) make(here cgroupfs.Location, s rootSite) error {
	if err := r.makeRoot(s); err != nil {
		return err
	}
	if err := r.moveDaemonToLeaf(here); err != nil {
		return err
	}
	if s.parent != "" {
		if err := r.enableAt(s.parent); err != nil {
			return err
		}
	}
	if err := r.enableAt(r.path); err != nil {
		return err
	}
	if err := r.makeRuns(); err != nil {
		return err
	}
	return r.decideEnforced()
}

// makeRoot makes the subtree; one that is there was left by a daemon before us.
func (r *Root) makeRoot(s rootSite) error {
	if s.parent != "" && !r.origin.Made {
		err := unix.Mkdir(r.path, 0o755)
		if errors.Is(err, unix.EEXIST) {
			// Refuse a live one before there is anything to take back.
			err = cgroupfs.ClearLeaf(r.path + "/" + cgroupfs.DaemonLeaf)
		} else if err != nil {
			err = fmt.Errorf("%w: run as root, or as a unit with Delegate=yes", cgroupfs.WrapPath("mkdir", r.path, err))
		}
		if err != nil {
			return err
		}
		r.origin.Made = true
	}
	if err := unix.Access(r.path+"/cgroup.procs", unix.W_OK); err != nil {
		return fmt.Errorf("%w: the group isn't ours: set User= and Delegate=yes in the same unit", cgroupfs.WrapPath("access", r.path+"/cgroup.procs", err))
	}
	d, err := cgroupfs.OpenDir(r.path)
	if err != nil {
		return err
	}
	defer d.Close()
	return cgroupfs.CheckKill(d)
}

// moveDaemonToLeaf moves the daemon into its leaf unless it is there.
func (r *Root) moveDaemonToLeaf(here cgroupfs.Location) error {
	leaf := r.path + "/" + cgroupfs.DaemonLeaf
	if here.Own == leaf {
		return nil
	}
	if err := cgroupfs.MakeLeaf(leaf); err != nil {
		return err
	}
	r.origin.Leaf = true
	return cgroupfs.MoveSelf(leaf)
}

// enableAt switches controllers on below path.
func (r *Root) enableAt(path string) error {
	done, err := cgroupfs.Enable(path)
	if err == nil && len(done) > 0 {
		r.origin.Enabled = append(r.origin.Enabled, Switched{path, done})
	}
	return err
}

// makeRuns makes the group of all runs, which has no limit of its own yet. No
// cpu.max: a throttled parent would stall the daemon at each spawn.
func (r *Root) makeRuns() error {
	path := r.path + "/" + cgroupfs.RunsDir
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	d, err := cgroupfs.OpenDir(path)
	if err != nil {
		return err
	}
	r.runs = d
	left, err := cgroupfs.Children(path)
	if err != nil {
		return err
	}
	r.hasLeftovers = len(left) > 0
	r.limitsBefore = map[string]string{}
	for _, file := range []string{"memory.max", "pids.max"} {
		before, err := d.Read(file)
		if cgroupfs.IsAbsent(err) {
			continue
		}
		if err != nil {
			return err
		}
		r.limitsBefore[file] = strings.TrimSpace(string(before))
	}
	have, err := cgroupfs.Controllers(path)
	if err != nil {
		return err
	}
	if slices.Contains(have, "memory") {
		if err := d.Set(cgroupfs.SwapLimit(0)); err != nil {
			return err
		}
	}
	if err := d.ForbidHugePages(); err != nil {
		return err
	}
	_, err = cgroupfs.Enable(path)
	return err
}

// decideEnforced asks the kernel what the children of runs really have.
func (r *Root) decideEnforced() error {
	on, err := cgroupfs.Enabled(r.runs.Path)
	if err != nil {
		return err
	}
	r.enforced = enforcedBy(on)
	r.countsIO = slices.Contains(on, "io")
	if lacks := cgroupfs.Missing(cgroupfs.Needed(), on); r.mode == Strict && len(lacks) > 0 {
		return fmt.Errorf("%s/cgroup.subtree_control: %q: strict isolation needs %v", r.runs.Path, on, lacks)
	}
	return nil
}
