package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// sample is one look of the watch at one process or the sum over a group.
type sample struct {
	memory uint64 // bytes of anonymous, shared and swapped out pages
	tasks  uint64
}

// sample sums over /proc/PID/status of the group's processes.
func (g *Group) sample() (sample, error) {
	pids, err := g.dir.procs()
	if err != nil {
		return sample{}, err
	}
	var sum sample
	for _, pid := range pids {
		s, err := parseFile(fmt.Sprintf("/proc/%d/status", pid), parseStatus)
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

// parseStatus reads /proc/PID/status (proc_pid_status(5)); a zombie has no
// memory lines and counts as none.
func parseStatus(r io.Reader) (sample, error) {
	var s sample
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		key, val, _ := strings.Cut(sc.Text(), ":")
		switch key {
		case "RssAnon", "RssShmem", "VmSwap":
			kb, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(val, " kB")), 10, 64)
			if err != nil {
				return sample{}, fmt.Errorf("line %q: %w", sc.Text(), err)
			}
			s.memory += kb << 10
		case "Threads":
			n, err := strconv.ParseUint(strings.TrimSpace(val), 10, 64)
			if err != nil {
				return sample{}, fmt.Errorf("line %q: %w", sc.Text(), err)
			}
			s.tasks = n
		}
	}
	return s, sc.Err()
}

// observed is what the watch saw of one group.
type observed struct {
	mu       sync.Mutex
	looked   bool
	now      sample
	peak     sample
	exceeded string
}

func (o *observed) add(s sample) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looked = true
	o.now = s
	o.peak.memory = max(o.peak.memory, s.memory)
	o.peak.tasks = max(o.peak.tasks, s.tasks)
}

// exceed records the first limit that was passed; false when one was before.
func (o *observed) exceed(what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.exceeded != "" {
		return false
	}
	o.exceeded = what
	return true
}

func (o *observed) last() (sample, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now, o.looked
}

// enter puts the watch's figures where the kernel gave none, labelled.
func (o *observed) enter(r *Receipt, s settings) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.Exceeded = o.exceeded
	if r.EnforcedBy.Memory == Watch {
		r.MemoryMaxBytes = unsigned(s.memoryMax)
		if o.looked {
			r.MemoryPeakBytes = new(o.peak.memory)
			r.Estimated = append(r.Estimated, "memory")
		}
	}
	if r.EnforcedBy.Pids == Watch {
		r.PidsMax = unsigned(s.pidsMax)
		if o.looked {
			r.PidsPeak = new(o.peak.tasks)
			r.Estimated = append(r.Estimated, "pids")
		}
	}
}

func unsigned(n *int64) *uint64 {
	if n == nil {
		return nil
	}
	u := uint64(*n)
	return &u
}
