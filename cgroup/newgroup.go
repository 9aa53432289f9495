package cgroup

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"penstock/cgroup/cgroupfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
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
// wraps ErrName. Any limit that nobody on this host can hold is a refusal, and
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
	if err := s.apply(d, t.enforced); err != nil {
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

// apply writes what the kernel holds. Swap and oom.group come with or without a
// limit: the tree lives or dies as one, and never on swap nobody granted.
func (s groupLimits) apply(d *cgroupfs.Dir, e Enforced) error {
	if e.Memory == Kernel {
		if s.memoryMax != nil {
			if err := d.Set(cgroupfs.BytesLimit("memory.max", *s.memoryMax)); err != nil {
				return err
			}
		}
		if err := errors.Join(d.SetSwap(s.swapMax), d.Set(cgroupfs.NumberLimit("memory.oom.group", 1))); err != nil {
			return err
		}
		if s.memoryHigh != nil {
			if err := d.Set(cgroupfs.BytesLimit("memory.high", *s.memoryHigh)); err != nil {
				return err
			}
		}
	}
	if e.Pids == Kernel && s.pidsMax != nil {
		return d.Set(cgroupfs.NumberLimit("pids.max", *s.pidsMax))
	}
	return nil
}
