package cgroup

import "sync"

// usageHistory is what the watch saw of one group.
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

// markExceeded records why the watch ends the group (Receipt.Exceeded); false when one was before.
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

// fillReceipt puts the watch's figures where the kernel gave none, labelled.
func (o *usageHistory) fillReceipt(r *Receipt, s groupLimits) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.Exceeded = o.exceeded
	if r.EnforcedBy.Memory == Watch {
		r.MemoryMaxBytes = unsigned(s.memoryMax)
		if o.peak.memory > 0 { // else no look fell into the run's life
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
