package cgroup

import (
	"math"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Limits in our own words; Resources turns them into OCI form. Zero is "not set".
type Limits struct {
	MemoryMax  int64 // bytes
	MemoryHigh int64 // bytes
	SwapMax    int64 // bytes beside memory; 0 forbids swap
	PidsMax    int64
	CPUQuota   time.Duration // of CPU time per Period
	CPUPeriod  time.Duration
	CPUWeight  uint64 // 1..10000
}

// Resources puts limits in OCI form. Memory always carries Swap, which OCI
// counts together with the memory, because an absent one means "unlimited" to
// other readers of the form.
func Resources(l Limits) *specs.LinuxResources {
	res := &specs.LinuxResources{}
	if l.MemoryMax > 0 {
		limit, both := l.MemoryMax, int64(math.MaxInt64)
		if l.SwapMax < math.MaxInt64-limit {
			both = limit + max(l.SwapMax, 0)
		}
		res.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &both}
	}
	if l.PidsMax > 0 {
		pids := l.PidsMax
		res.Pids = &specs.LinuxPids{Limit: &pids}
	}
	if l.CPUQuota > 0 {
		period := l.CPUPeriod
		if period <= 0 {
			period = defaultCPUPeriod
		}
		quota, p := l.CPUQuota.Microseconds(), uint64(period.Microseconds())
		res.CPU = &specs.LinuxCPU{Quota: &quota, Period: &p}
	}
	// OCI has no field of its own for these two.
	if l.MemoryHigh > 0 {
		res.Unified = unified(res.Unified, "memory.high", uint64(l.MemoryHigh))
	}
	if l.CPUWeight > 0 {
		res.Unified = unified(res.Unified, "cpu.weight", l.CPUWeight)
	}
	return res
}
