package cgroup

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// memoryFloor: below it even execve of the program fails.
	memoryFloor = 32 << 20
	// defaultCPUPeriod is the kernel's own.
	defaultCPUPeriod = 100 * time.Millisecond
	// defaultWeight is what every group has: asking for it asks for nothing.
	defaultWeight = 100
)

// groupLimits are the limits of one group, checked; nil or empty is not set.
type groupLimits struct {
	memoryMax  *int64
	memoryHigh *int64
	swapMax    int64
	pidsMax    *int64
	cpuMax     string // "quota period" in microseconds
	cpuWeight  *uint64
}

// parseLimits reads the OCI form. What we can't set is refused, not dropped.
// containerd's ToResources does the arithmetic; what it loses (Unified, a quota
// without a period) and what it takes for unlimited (absent swap) is ours.
func parseLimits(res *specs.LinuxResources) (groupLimits, error) {
	var s groupLimits
	if res == nil {
		return s, nil
	}
	if err := refuseUnsupported(res); err != nil {
		return s, err
	}
	return s, errors.Join(s.memory(res), s.pids(res), s.cpu(res), s.unified(res.Unified))
}

func refuseUnsupported(res *specs.LinuxResources) error {
	var errs []error
	refuse := func(set bool, field string) {
		if set {
			errs = append(errs, fmt.Errorf("limit %s: not supported: take it out", field))
		}
	}
	refuse(len(res.Devices) > 0, "devices")
	refuse(res.BlockIO != nil, "blockIO")
	refuse(len(res.HugepageLimits) > 0, "hugepageLimits")
	refuse(res.Network != nil, "network")
	refuse(len(res.Rdma) > 0, "rdma")
	if m := res.Memory; m != nil {
		refuse(m.Reservation != nil, "memory.reservation")
		refuse(m.DisableOOMKiller != nil && *m.DisableOOMKiller, "memory.disableOOMKiller")
	}
	if c := res.CPU; c != nil {
		refuse(c.Cpus != "" || c.Mems != "", "cpu.cpus, cpu.mems")
		refuse(c.Burst != nil || c.Idle != nil || c.RealtimeRuntime != nil || c.RealtimePeriod != nil, "cpu.burst, cpu.idle, cpu.realtime*")
	}
	return errors.Join(errs...)
}

func (s *groupLimits) memory(res *specs.LinuxResources) error {
	m := res.Memory
	if m == nil || m.Limit == nil || *m.Limit == -1 {
		if m != nil && m.Swap != nil && *m.Swap > 0 {
			return fmt.Errorf("limit memory.swap: %d: needs memory.limit beside it", *m.Swap)
		}
		return nil
	}
	if *m.Limit < memoryFloor {
		return fmt.Errorf("limit memory.max: %d: below %d bytes no program can start: raise it", *m.Limit, int64(memoryFloor))
	}
	s.memoryMax = m.Limit
	if m.Swap == nil {
		return nil
	}
	if *m.Swap < *m.Limit {
		return fmt.Errorf("limit memory.swap: %d: counts memory and swap together and is below memory.limit %d", *m.Swap, *m.Limit)
	}
	s.swapMax = *cgroup2.ToResources(&specs.LinuxResources{Memory: m}).Memory.Swap
	return nil
}

func (s *groupLimits) pids(res *specs.LinuxResources) error {
	if res.Pids == nil || res.Pids.Limit == nil || *res.Pids.Limit == -1 || *res.Pids.Limit == 0 {
		return nil
	}
	if *res.Pids.Limit < 0 {
		return fmt.Errorf("limit pids.max: %d: must be 1 or more", *res.Pids.Limit)
	}
	s.pidsMax = res.Pids.Limit
	return nil
}

func (s *groupLimits) cpu(res *specs.LinuxResources) error {
	c := res.CPU
	if c == nil {
		return nil
	}
	if c.Shares != nil && *c.Shares > 0 {
		s.cpuWeight = cgroup2.ToResources(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: c.Shares}}).CPU.Weight
	}
	if c.Quota == nil || *c.Quota <= 0 {
		return nil
	}
	period := uint64(defaultCPUPeriod.Microseconds())
	if c.Period != nil && *c.Period > 0 {
		period = *c.Period
	}
	// Bounds of kernel/sched/core.c: 1 ms .. 1 s for the period, 1 ms at least for the quota.
	if *c.Quota < 1000 || period < 1000 || period > 1_000_000 {
		return fmt.Errorf("limit cpu.max: %d %d: quota must be 1000 us or more and period between 1000 and 1000000 us", *c.Quota, period)
	}
	s.cpuMax = string(cgroup2.NewCPUMax(c.Quota, &period))
	return nil
}

func (s *groupLimits) unified(files map[string]string) error {
	var errs []error
	for file, value := range files {
		switch file {
		case "memory.high":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < memoryFloor {
				errs = append(errs, fmt.Errorf("limit memory.high: %q: must be %d bytes or more", value, int64(memoryFloor)))
			}
			s.memoryHigh = &n
		case "cpu.weight":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil || n < 1 || n > 10000 {
				errs = append(errs, fmt.Errorf("limit cpu.weight: %q: must be 1 to 10000", value))
			}
			s.cpuWeight = &n
		default:
			errs = append(errs, fmt.Errorf("limit %s: %q: not supported: only memory.high and cpu.weight", file, value))
		}
	}
	return errors.Join(errs...)
}

func unified(m map[string]string, file string, value uint64) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[file] = strconv.FormatUint(value, 10)
	return m
}

// checkEnforceable refuses what nobody on this host can hold. Memory and pids are then
// the watch's; throttling and weights have no substitute.
func (s groupLimits) checkEnforceable(e Enforced) error {
	if s.memoryHigh != nil && e.Memory != Kernel {
		return errors.New("limit memory.high: no memory controller on this host: take memory_high out")
	}
	if e.CPU == Kernel {
		return nil
	}
	if s.cpuMax != "" {
		return errors.New("limit cpu.max: no cpu controller on this host: take cpu_max out")
	}
	if s.cpuWeight != nil && *s.cpuWeight != defaultWeight {
		return fmt.Errorf("limit cpu.weight: %d: no cpu controller on this host: take cpu_weight out", *s.cpuWeight)
	}
	return nil
}
