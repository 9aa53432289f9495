package cgroup

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

// sample is one reading of one process, or the sum over a group.
type sample struct {
	memory uint64 // bytes of anonymous, shared and swapped out pages, and of CountFiles
	tasks  uint64
}

// lesser is zero against a group that was not seen before.
func (s sample) lesser(t sample) sample {
	return sample{memory: min(s.memory, t.memory), tasks: min(s.tasks, t.tasks)}
}

// sample sums over /proc/PID/status of the group's processes, and adds its files.
func (g *Group) sample() (sample, error) {
	pids, err := g.dir.Procs()
	if err != nil {
		return sample{}, err
	}
	var sum sample
	if sum.memory, err = g.files.used(); err != nil {
		return sample{}, err
	}
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

// kcmpVM is KCMP_VM of linux/kcmp.h: do two processes share their memory.
const kcmpVM = 1

// sharesMemory is false also where kcmp(2) is denied, see recheckAfter.
func sharesMemory(a, b int) bool {
	if b <= 0 || a == b {
		return false
	}
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return errno == 0 && order == 0
}

// usageHistory is what the enforcer saw of one group.
type usageHistory struct {
	mu       sync.Mutex
	sampled  bool
	now      sample
	peak     sample
	exceeded string
}

func (o *usageHistory) add(s sample) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sampled = true
	o.now = s
	o.peak.memory = max(o.peak.memory, s.memory)
	o.peak.tasks = max(o.peak.tasks, s.tasks)
}

// markExceeded records why the enforcer ends the group (Receipt.Exceeded); false when one was before.
func (o *usageHistory) markExceeded(what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.exceeded != "" {
		return false
	}
	o.exceeded = what
	return true
}

func (o *usageHistory) last() (sample, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now, o.sampled
}

// fillReceipt puts the enforcer's figures where the kernel gave none, labelled.
func (o *usageHistory) fillReceipt(r *Receipt, s groupLimits) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.Exceeded = o.exceeded
	if r.EnforcedBy.Memory == Watch {
		r.MemoryMaxBytes = unsigned(s.memoryMax)
		if o.peak.memory > 0 { // else no sample fell into the run's life
			r.MemoryPeakBytes = new(o.peak.memory)
			r.Estimated = append(r.Estimated, "memory")
		}
	}
	if r.EnforcedBy.Pids == Watch {
		r.PidsMax = unsigned(s.pidsMax)
		if o.peak.tasks > 0 {
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
