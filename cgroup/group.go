package cgroup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

// Group is one run's group. It is used once: on kernels with the kill_seq fault
// a group that has seen cgroup.kill kills every child born into it later.
// All methods may be called concurrently.
type Group struct {
	id      string
	tree    *Tree
	dir     *cgroupfs.Dir
	limits  groupLimits
	made    bool         // here, not by an earlier daemon
	history usageHistory // what the enforcer saw
	files   memoryFiles  // that are its own
	// processes is how many there were when they were last counted; nil is never.
	processes atomic.Pointer[int]
	// budgetOOMs is Root.budgetOOMs of when the group was made.
	budgetOOMs *uint64
	// tasksRefused is Root.tasksRefused of when the group was made.
	tasksRefused *uint64

	removing sync.Mutex
	gone     chan struct{}
}

// ID is the name NewGroup was given.
func (g *Group) ID() string { return g.id }

// FD is the group's directory, for SysProcAttr.CgroupFD; -1 once it is removed.
func (g *Group) FD() int { return g.dir.FD() }

// ApplyCPU writes cpu.weight and cpu.max. Only call it after the first process
// was started: a child is born under its group's limits while Go's spawn holds
// the processor, so a throttled group would stall the whole daemon.
func (g *Group) ApplyCPU() error {
	if g.tree.enforced.CPU != Kernel {
		return nil
	}
	for _, limit := range g.limits.after {
		if err := g.dir.Set(limit); err != nil {
			return err
		}
	}
	return nil
}

// LeaderAttr is the extended attribute of a run's group in which its first process
// notes itself before it does anything else: an int32 of this machine's order. It
// lives as long as the group. A run can write it where only Landlock keeps it in (see
// Spawner.notes).
const LeaderAttr = "user.penstock.leader"

// endAttr is why a daemon began to end the run, for the next one, should it be
// killed over it.
const endAttr = "user.penstock.end"

// Leader is what LeaderAttr says, 0 where no process has noted itself.
func (g *Group) Leader() (int, error) {
	pid, err := g.attr(LeaderAttr)
	if err != nil || pid == nil {
		return 0, err
	}
	if len(pid) != 4 {
		return 0, fmt.Errorf("%s: %s: %d bytes: not a process id", g.dir.Path, LeaderAttr, len(pid))
	}
	return int(int32(binary.NativeEndian.Uint32(pid))), nil
}

// NoteEnd keeps why the run is ended for as long as there is the group.
func (g *Group) NoteEnd(why string) error {
	err := unix.Fsetxattr(g.dir.FD(), endAttr, []byte(why), 0)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return cgroupfs.WrapPath("fsetxattr", g.dir.Path, err)
}

// NotedEnd is what NoteEnd kept, "" where it was not called.
func (g *Group) NotedEnd() (string, error) {
	why, err := g.attr(endAttr)
	return string(why), err
}

// attr is nil where there is none, or the kernel has none.
func (g *Group) attr(name string) ([]byte, error) {
	var value [64]byte
	n, err := unix.Fgetxattr(g.dir.FD(), name, value[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, cgroupfs.WrapPath("fgetxattr", g.dir.Path, err)
	}
	return value[:n], nil
}

// Procs lists the processes of the group and of groups made below it.
func (g *Group) Procs() ([]int, error) { return g.dir.Procs() }

// Populated says whether any process is left in the group or below it.
func (g *Group) Populated() (bool, error) { return g.dir.Populated() }

// Kill ends all processes at once (cgroup.kill); it doesn't wait.
func (g *Group) Kill() error { return g.dir.Kill() }

// WaitEmpty waits until no process is left. When ctx ends first the error wraps
// ErrBusy and ctx's error and names the processes.
func (g *Group) WaitEmpty(ctx context.Context) error {
	if g.isGone() {
		return nil
	}
	return g.dir.WaitEmpty(ctx)
}

// Gone is closed when the directory is removed, also when the janitor did it.
func (g *Group) Gone() <-chan struct{} { return g.gone }

func (g *Group) isGone() bool {
	select {
	case <-g.gone:
		return true
	default:
		return false
	}
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
