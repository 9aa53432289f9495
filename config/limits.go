package config

import (
	"strconv"
	"time"
)

const (
	// MemoryFloor is the least memory.max under which an exec still succeeds
	// and fails for its own reasons.
	MemoryFloor = 32 * mib
	// pidsCeiling is PID_MAX_LIMIT of 64-bit Linux (include/linux/threads.h).
	pidsCeiling = 4 << 20
)

// limits builds the limits below prefix; a backend's own come first, then the
// daemon-wide ones.
func (b *builder) limits(prefix string, budget Budget) Limits {
	key := func(name string) string { return b.effective(prefix, name) }
	l := Limits{
		MemoryMax:  value[int64](b.layers, key("memory_max")),
		MemoryHigh: value[int64](b.layers, key("memory_high")),
		SwapMax:    value[int64](b.layers, key("swap_max")),
		PidsMax:    value[int64](b.layers, key("pids_max")),
		CPUMax:     value[float64](b.layers, key("cpu_max")),
		CPUWeight:  uint64(value[int64](b.layers, key("cpu_weight"))),
		Timeout:    value[time.Duration](b.layers, key("timeout")),
		Stall:      value[time.Duration](b.layers, key("stall_timeout")),
		Grace:      value[time.Duration](b.layers, key("grace")),
		OutputMax:  value[int64](b.layers, key("output_max")),
		LineMax:    value[int64](b.layers, key("line_max")),
	}
	if l.MemoryMax > budget.Memory && budget.Memory >= MemoryFloor && !b.written(key("memory_max")) {
		l.MemoryMax, l.Clipped = budget.Memory, true
	}
	if !b.written(key("line_max")) {
		l.LineMax = min(l.LineMax, l.OutputMax)
	}
	b.checkLimits(prefix, l, budget)
	return l
}

// effective is the key whose value holds for a limit.
func (b *builder) effective(prefix, name string) string {
	if own := prefix + "." + name; b.written(own) || prefix == "limits" {
		return own
	}
	return "limits." + name
}

// rule is one thing that must not be so.
type rule struct {
	name, hint, message string
	broken              bool
}

func (b *builder) checkLimits(prefix string, l Limits, budget Budget) {
	own := func(name string) bool { return b.written(prefix + "." + name) }
	for _, r := range limitRules(l, budget) {
		// What a backend inherits was judged, and reported, where it was written;
		// only a pair of limits can be wrong here and right there.
		name := r.name
		if prefix != "limits" && !own(name) {
			if name != "memory_high" && name != "line_max" {
				continue
			}
			partner := map[string]string{"memory_high": "memory_max", "line_max": "output_max"}[name]
			if !own(partner) {
				continue
			}
			name = partner
		}
		if key := prefix + "." + name; r.broken && !b.bad[key] {
			b.reject(key, r.hint, "%s", r.message)
		}
	}
}

func limitRules(l Limits, budget Budget) []rule {
	return []rule{
		{"memory_max", "at least 32 MiB: below it a program can't even start", Size(l.MemoryMax) + " is too small", l.MemoryMax < MemoryFloor},
		{"memory_max", "lower it or raise budget.memory", Size(l.MemoryMax) + " can never fit the budget of " + Size(budget.Memory), l.MemoryMax > budget.Memory && budget.Memory >= MemoryFloor},
		{"memory_high", "about 90% of memory_max, or leave it out", "memory_high of " + Size(l.MemoryHigh) + " is not below memory_max of " + Size(l.MemoryMax), l.MemoryHigh > 0 && l.MemoryHigh >= l.MemoryMax},
		{"swap_max", "leave it out", "swap can't be granted: the group of all runs has none", l.SwapMax != 0},
		{"pids_max", "", "must be from 1 to 4194304", l.PidsMax < 1 || l.PidsMax > pidsCeiling},
		{"cpu_weight", "", "must be from 1 to 10000", l.CPUWeight < 1 || l.CPUWeight > 10000},
		{"timeout", "", "must be at least 1s", l.Timeout < time.Second},
		{"stall_timeout", "0 is never", "must be 0 or at least 1s", l.Stall != 0 && l.Stall < time.Second},
		{"grace", "", "must be at most 5m", l.Grace > 5*time.Minute},
		{"output_max", "", "must be at least 64 KiB", l.OutputMax < 64<<10},
		{"line_max", "", "must be at least 4 KiB", l.LineMax < 4<<10},
		{"line_max", "", "line_max of " + Size(l.LineMax) + " is more than output_max of " + Size(l.OutputMax), l.LineMax > l.OutputMax},
	}
}

// crowdedBudget is the part of a limit above that a budget written as a size may
// have, in percent: the rest is the daemon's, which meets the same limit.
const crowdedBudget = 95

// written is budget.memory as a file has it.
func (b Budget) written() string {
	if b.Percent > 0 {
		return strconv.FormatFloat(b.Percent, 'f', -1, 64) + "%"
	}
	return formatSize(b.Memory)
}

// Under is the budget in bytes below a limit above of so many bytes, now: a
// percentage is of the smaller of that limit and the host's memory, a size is cut
// to what the limit leaves beside the daemon. 0 is not known, or no limit.
func (b Budget) Under(limit, host int64) int64 {
	if b.Percent > 0 {
		if limit <= 0 || host > 0 && host < limit {
			limit = host
		}
		if limit <= 0 {
			return b.Memory
		}
		return max(MemoryFloor, int64(float64(limit)*b.Percent/100))
	}
	if limit <= 0 {
		return b.Memory
	}
	return max(MemoryFloor, min(b.Memory, limit/100*crowdedBudget))
}
