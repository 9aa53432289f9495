package cgroup

import (
	"errors"
	"os"

	"penstock/internal/procinfo"

	"golang.org/x/sys/unix"
)

// sample is one look of the watch at one process or the sum over a group.
type sample struct {
	memory uint64 // bytes of anonymous, shared and swapped out pages
	tasks  uint64
}

// lesser is zero against a group that was not seen before.
func (s sample) lesser(t sample) sample {
	return sample{memory: min(s.memory, t.memory), tasks: min(s.tasks, t.tasks)}
}

// sample sums over /proc/PID/status of the group's processes.
func (g *Group) sample() (sample, error) {
	pids, err := g.dir.Procs()
	if err != nil {
		return sample{}, err
	}
	var sum sample
	for _, pid := range pids {
		s, err := sampleProcess(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return sample{}, err
		}
		sum.memory += s.memory
		sum.tasks += s.tasks
	}
	return sum, nil
}

// sampleProcess counts a process without memory while it is still on its
// parent's, as a child of vfork(2) is until it has called execve. For a run's
// first process that would be the whole daemon's.
func sampleProcess(pid int) (sample, error) {
	borrowed := sharesMemory(pid, os.Getpid())
	st, err := procinfo.Host.Status(pid)
	if err != nil {
		return sample{}, err
	}
	if borrowed || sharesMemory(pid, st.Parent) {
		st.Memory = 0
	}
	return sample{memory: st.Memory, tasks: st.Threads}, nil
}
