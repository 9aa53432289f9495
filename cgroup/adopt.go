package cgroup

import (
	"bytes"
	"fmt"
	"io/fs"

	"penstock/cgroup/cgroupfs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Adopt takes over a group that an earlier daemon has left under runs: Sweep
// then leaves it alone, and its end is seen like that of a group made here. res
// are the limits it was made with; those the kernel holds are still in the
// group, our own watch takes up the others. The error wraps fs.ErrNotExist when
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

// MemoryMax is the cap that the kernel holds on the group, in bytes; it is not
// ok where the kernel holds none, or can't be asked.
func (g *Group) MemoryMax() (n int64, ok bool) {
	return g.kernelLimit("memory.max", g.tree.enforced.Memory)
}

// PidsMax is the same of the processes it may have.
func (g *Group) PidsMax() (n int64, ok bool) { return g.kernelLimit("pids.max", g.tree.enforced.Pids) }

func (g *Group) kernelLimit(file string, by Enforcer) (n int64, ok bool) {
	if by != Kernel {
		return 0, false
	}
	b, err := g.dir.Read(file)
	if err != nil {
		return 0, false
	}
	v, err := cgroupfs.ParseValue(bytes.NewReader(b))
	return int64(v), err == nil && v != cgroupfs.Unlimited
}
