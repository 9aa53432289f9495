package config

import (
	"time"

	"penstock/internal/bytesize"
)

const (
	// MemoryFloor is the least memory.max under which an exec still succeeds
	// and fails for its own reasons.
	MemoryFloor = 32 * bytesize.MiB
	// pidsCeiling is PID_MAX_LIMIT of 64-bit Linux (include/linux/threads.h).
	pidsCeiling = 4 << 20
)

// limits finishes the limits below prefix, and judges them.
func (l *loader) limits(prefix string, own Limits) Limits {
	budget := l.config.Budget.Memory.Bytes
	explicit := func(name string) bool {
		return l.isExplicit(prefix+"."+name) || l.isExplicit("limits."+name)
	}
	if own.MemoryMax.Bytes > budget && budget >= MemoryFloor && !explicit("memory_max") {
		own.MemoryMax, own.Clipped = Size{Bytes: budget}, true
	}
	if !explicit("line_max") {
		own.LineMax.Bytes = min(own.LineMax.Bytes, own.OutputMax.Bytes)
	}
	l.checkLimits(prefix, own)
	return own
}

// rule is one thing that must not be so.
type rule struct {
	name, hint, message string
	broken              bool
}

func (l *loader) checkLimits(prefix string, limits Limits) {
	own := func(name string) bool { return l.isExplicit(prefix + "." + name) }
	for _, r := range limitRules(limits, l.config.Budget.Memory.Bytes) {
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
		if key := prefix + "." + name; r.broken && !l.bad[key] {
			l.fail(key, r.hint, "%s", r.message)
		}
	}
}

func limitRules(l Limits, budget int64) []rule {
	human := func(s Size) string { return bytesize.Human(s.Bytes) }
	return []rule{
		{"memory_max", "at least 32 MiB: below it a program can't even start", human(l.MemoryMax) + " is too small", l.MemoryMax.Bytes < MemoryFloor},
		{"memory_max", "lower it or raise budget.memory", human(l.MemoryMax) + " can never fit the budget of " + bytesize.Human(budget), l.MemoryMax.Bytes > budget && budget >= MemoryFloor},
		{"memory_high", "about 90% of memory_max, or leave it out", "memory_high of " + human(l.MemoryHigh) + " is not below memory_max of " + human(l.MemoryMax), l.MemoryHigh.Bytes > 0 && l.MemoryHigh.Bytes >= l.MemoryMax.Bytes},
		{"swap_max", "leave it out", "swap can't be granted: the group of all runs has none", l.SwapMax.Bytes != 0},
		{"pids_max", "", "must be from 1 to 4194304", l.PidsMax < 1 || l.PidsMax > pidsCeiling},
		{"cpu_weight", "", "must be from 1 to 10000", l.CPUWeight < 1 || l.CPUWeight > 10000},
		{"timeout", "", "must be at least 1s", l.Timeout.Duration < time.Second},
		{"stall_timeout", "0 is never", "must be 0 or at least 1s", l.Stall.Duration != 0 && l.Stall.Duration < time.Second},
		{"grace", "", "must be at most 5m", l.Grace.Duration > 5*time.Minute},
		{"output_max", "", "must be at least 64 KiB", l.OutputMax.Bytes < 64*bytesize.KiB},
		{"line_max", "", "must be at least 4 KiB", l.LineMax.Bytes < 4*bytesize.KiB},
		{"line_max", "", "line_max of " + human(l.LineMax) + " is more than output_max of " + human(l.OutputMax), l.LineMax.Bytes > l.OutputMax.Bytes},
	}
}

// budgetSharePercent is the part of a limit above that a budget written as a size may
// have, in percent: the rest is the daemon's, which meets the same limit.
const budgetSharePercent = 95

// Under is the budget in bytes below a limit above of so many bytes, now: a
// percentage is of the smaller of that limit and the host's memory, a size is cut
// to what the limit leaves beside the daemon. 0 is not known, or no limit.
func (b Budget) Under(limit, host int64) int64 {
	if b.Memory.Percent > 0 {
		if limit <= 0 || host > 0 && host < limit {
			limit = host
		}
		if limit <= 0 {
			return b.Memory.Bytes
		}
		return max(MemoryFloor, int64(float64(limit)*b.Memory.Percent/100))
	}
	if limit <= 0 {
		return b.Memory.Bytes
	}
	return max(MemoryFloor, min(b.Memory.Bytes, limit/100*budgetSharePercent))
}
