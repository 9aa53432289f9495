package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// reserved tells names like those of the kernel's own files in a group, which
// begin with "cgroup." or a controller's name (cgroup-v2.rst, "Core" and
// "Controllers"), whether or not this kernel has that file.
func reserved(id string) bool {
	prefix, _, ok := strings.Cut(id, ".")
	if !ok {
		return false
	}
	switch prefix {
	case "cgroup", "cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma", "misc", "irq", "dmem":
		return true
	}
	return false
}

// NewGroup makes the group of one run with its limits written and read back; an
// id that is there already is an error, and one that looks like a kernel file
// wraps ErrName. Any limit that nothing on this host can hold is a refusal, and
// so is one the kernel doesn't take (ErrKernel); nothing is left behind. CPU
// limits wait for ApplyCPU.
func (t *Tree) NewGroup(id string, res *specs.LinuxResources) (*Group, error) {
	if !idForm.MatchString(id) || id == "." || id == ".." {
		return nil, fmt.Errorf("new group %q: want 1 to 128 of [A-Za-z0-9._:-]", id)
	}
	if reserved(id) {
		return nil, fmt.Errorf("new group %s: %w: the kernel's own files begin so (hint: use another id)", id, ErrName)
	}
	s, err := parseLimits(res)
	if err == nil {
		err = s.checkEnforceable(t.enforced)
	}
	if err == nil {
		err = t.reserve(id)
	}
	if err != nil {
		return nil, fmt.Errorf("new group %s: %w", id, err)
	}
	g, err := t.makeGroup(id, s)
	if err != nil {
		t.release(id)
		return nil, fmt.Errorf("new group %s: %w: %w", id, ErrKernel, err)
	}
	t.register(g)
	return g, nil
}

func (t *Tree) makeGroup(id string, s groupLimits) (*Group, error) {
	path := t.runs.Path + "/" + id
	if err := cgroupfs.WithPerms(func() error { return unix.Mkdir(path, cgroupfs.DirMode) }, t.restorePerms); err != nil {
		return nil, cgroupfs.WrapPath("mkdir", path, err)
	}
	d, err := cgroupfs.OpenDir(path)
	if err != nil {
		return nil, errors.Join(err, cgroupfs.Rmdir(path))
	}
	if err := s.write(d, t.enforced); err != nil {
		return nil, errors.Join(err, d.Close(), cgroupfs.Rmdir(path))
	}
	g := t.trackGroup(id, d, s)
	g.made = true
	return g, nil
}

func (t *Tree) trackGroup(id string, d *cgroupfs.Dir, s groupLimits) *Group {
	d.OpenKill()
	g := &Group{id: id, tree: t, dir: d, limits: s, gone: make(chan struct{})}
	if t.enforced.Memory == Kernel {
		g.budgetOOMs = t.budgetOOMs()
	}
	if t.enforced.Pids == Kernel {
		g.tasksRefused = t.tasksRefused()
	}
	return g
}

// restorePerms gives back the root and the group of all runs.
func (t *Tree) restorePerms() error {
	return errors.Join(unix.Chmod(t.Path(), cgroupfs.DirMode), unix.Chmod(t.runs.Path, cgroupfs.DirMode))
}

// Adopt takes over a group that an earlier daemon has left under runs: Sweep
// then leaves it alone, and its end is seen like that of a group made here. res
// are the limits it was made with; those the kernel holds are still in the
// group, the enforcer takes up the others. The error wraps fs.ErrNotExist when
// there is no such group.
func (t *Tree) Adopt(id string, res *specs.LinuxResources) (*Group, error) {
	if !idForm.MatchString(id) || id == "." || id == ".." || reserved(id) {
		return nil, fmt.Errorf("adopt group %q: not a run's name: %w", id, fs.ErrNotExist)
	}
	s, err := parseLimits(res)
	if err == nil {
		err = t.reserve(id)
	}
	if err != nil {
		return nil, fmt.Errorf("adopt group %s: %w", id, err)
	}
	d, err := cgroupfs.OpenDir(t.runs.Path + "/" + id)
	if err != nil {
		t.release(id)
		if cgroupfs.IsVanished(err) {
			err = fs.ErrNotExist
		}
		return nil, fmt.Errorf("adopt group %s: %w", id, err)
	}
	g := t.trackGroup(id, d, s)
	t.register(g)
	return g, nil
}
