package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

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
	pids, err := g.dir.procs()
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
	st, err := parseFile(fmt.Sprintf("/proc/%d/status", pid), parseStatus)
	if err != nil {
		return sample{}, err
	}
	if borrowed || sharesMemory(pid, st.parent) {
		st.memory = 0
	}
	return st.sample, nil
}

// status is what the watch wants of /proc/PID/status.
type status struct {
	sample
	parent int
}

// parseStatus reads /proc/PID/status (proc_pid_status(5)); a zombie has no
// memory lines and counts as none.
func parseStatus(r io.Reader) (status, error) {
	var s status
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		key, val, _ := strings.Cut(sc.Text(), ":")
		switch key {
		case "RssAnon", "RssShmem", "VmSwap", "Threads", "PPid":
		default:
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(val, " kB")), 10, 63)
		if err != nil {
			return status{}, fmt.Errorf("line %q: %w", sc.Text(), err)
		}
		switch key {
		case "Threads":
			s.tasks = n
		case "PPid":
			s.parent = int(n)
		default:
			s.memory += n << 10
		}
	}
	return s, sc.Err()
}
