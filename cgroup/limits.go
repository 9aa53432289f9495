package cgroup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup/cgroupfs"
)

const (
	// memoryFloor: below it even execve of the program fails.
	memoryFloor = 32 << 20
	// defaultCPUPeriod is the kernel's own.
	defaultCPUPeriod = 100 * time.Millisecond
	// defaultWeight is what every group has: asking for it asks for nothing.
	defaultWeight = "100"
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
	files := map[string]uint64{"memory.high": uint64(max(0, l.MemoryHigh)), "cpu.weight": l.CPUWeight}
	for file, n := range files {
		if n == 0 {
			continue
		}
		if res.Unified == nil {
			res.Unified = map[string]string{}
		}
		res.Unified[file] = strconv.FormatUint(n, 10)
	}
	return res
}

// groupLimits are the limits of one group, checked, as the kernel's files.
type groupLimits struct {
	// before are written before the first process is born, after once it was
	// started, see Group.ApplyCPU.
	before, after []cgroupfs.Limit
	// memoryMax and pidsMax are held by the enforcer where the kernel can't; nil is
	// not set.
	memoryMax, pidsMax *int64
}

// parseLimits turns the OCI form into the kernel's files. What we can't set is
// refused, not dropped. containerd's ToResources does the arithmetic; what it loses
// (Unified, a quota without a period) and what it takes for unlimited (absent swap) is
// ours. Swap and oom.group come with or without a limit: the tree lives or dies as one,
// and never on swap that was not granted.
func parseLimits(res *specs.LinuxResources) (groupLimits, error) {
	if res == nil {
		res = &specs.LinuxResources{}
	}
	if err := refuseUnsupported(res); err != nil {
		return groupLimits{}, err
	}
	var l groupLimits
	var swap int64
	var errs [4]error
	l.memoryMax, swap, errs[0] = memoryLimits(res.Memory)
	l.pidsMax, errs[1] = pidsLimit(res.Pids)
	if l.memoryMax != nil {
		l.before = append(l.before, cgroupfs.BytesLimit("memory.max", *l.memoryMax))
	}
	l.before = append(l.before, cgroupfs.SwapLimit(swap), cgroupfs.NumberLimit("memory.oom.group", 1))
	if l.pidsMax != nil {
		l.before = append(l.before, cgroupfs.NumberLimit("pids.max", *l.pidsMax))
	}
	errs[3] = l.addUnified(res.Unified) // its weight goes before shares
	errs[2] = l.addCPU(res.CPU)
	return l, errors.Join(errs[:]...)
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

// memoryLimits are memory.max, nil where there is none, and memory.swap.max.
func memoryLimits(m *specs.LinuxMemory) (limit *int64, swap int64, err error) {
	if m == nil || m.Limit == nil || *m.Limit == -1 {
		if m != nil && m.Swap != nil && *m.Swap > 0 {
			return nil, 0, fmt.Errorf("limit memory.swap: %d: needs memory.limit beside it", *m.Swap)
		}
		return nil, 0, nil
	}
	if *m.Limit < memoryFloor {
		return nil, 0, fmt.Errorf("limit memory.max: %d: below %d bytes no program can start: raise it", *m.Limit, int64(memoryFloor))
	}
	if m.Swap == nil {
		return m.Limit, 0, nil
	}
	if *m.Swap < *m.Limit {
		return nil, 0, fmt.Errorf("limit memory.swap: %d: counts memory and swap together and is below memory.limit %d", *m.Swap, *m.Limit)
	}
	return m.Limit, *cgroup2.ToResources(&specs.LinuxResources{Memory: m}).Memory.Swap, nil
}

// pidsLimit is pids.max, nil where there is none.
func pidsLimit(p *specs.LinuxPids) (*int64, error) {
	if p == nil || p.Limit == nil || *p.Limit == -1 || *p.Limit == 0 {
		return nil, nil
	}
	if *p.Limit < 0 {
		return nil, fmt.Errorf("limit pids.max: %d: must be 1 or more", *p.Limit)
	}
	return p.Limit, nil
}

// addCPU adds cpu.weight and cpu.max.
func (l *groupLimits) addCPU(c *specs.LinuxCPU) error {
	if c == nil {
		return nil
	}
	if c.Shares != nil && *c.Shares > 0 && !slices.ContainsFunc(l.after, isFile("cpu.weight")) {
		weight := cgroup2.ToResources(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: c.Shares}}).CPU.Weight
		l.after = append(l.after, cgroupfs.NumberLimit("cpu.weight", int64(*weight)))
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
	l.after = append(l.after, cgroupfs.TextLimit("cpu.max", string(cgroup2.NewCPUMax(c.Quota, &period))))
	return nil
}

// addUnified adds the two files that OCI has no field for.
func (l *groupLimits) addUnified(files map[string]string) error {
	var errs []error
	for file, value := range files {
		switch file {
		case "memory.high":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < memoryFloor {
				errs = append(errs, fmt.Errorf("limit memory.high: %q: must be %d bytes or more", value, int64(memoryFloor)))
			}
			l.before = append(l.before, cgroupfs.BytesLimit(file, n))
		case "cpu.weight":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 || n > 10000 {
				errs = append(errs, fmt.Errorf("limit cpu.weight: %q: must be 1 to 10000", value))
			}
			l.after = append(l.after, cgroupfs.NumberLimit(file, n))
		default:
			errs = append(errs, fmt.Errorf("limit %s: %q: not supported: only memory.high and cpu.weight", file, value))
		}
	}
	return errors.Join(errs...)
}

func isFile(name string) func(cgroupfs.Limit) bool {
	return func(l cgroupfs.Limit) bool { return l.File == name }
}

// checkEnforceable refuses what neither the kernel nor the enforcer can hold on this
// host. Memory and pids are then the enforcer's; throttling and weights have no
// substitute.
func (l groupLimits) checkEnforceable(e Enforced) error {
	if e.Memory != Kernel && slices.ContainsFunc(l.before, isFile("memory.high")) {
		return errors.New("limit memory.high: no memory controller on this host: take memory_high out")
	}
	if e.CPU == Kernel {
		return nil
	}
	if slices.ContainsFunc(l.after, isFile("cpu.max")) {
		return errors.New("limit cpu.max: no cpu controller on this host: take cpu_max out")
	}
	if i := slices.IndexFunc(l.after, isFile("cpu.weight")); i >= 0 && l.after[i].Value != defaultWeight {
		return fmt.Errorf("limit cpu.weight: %s: no cpu controller on this host: take cpu_weight out", l.after[i].Value)
	}
	return nil
}

// write writes those that the kernel holds before the first process is born.
func (l groupLimits) write(d *cgroupfs.Dir, e Enforced) error {
	for _, limit := range l.before {
		controller, _, _ := strings.Cut(limit.File, ".")
		if controller == "memory" && e.Memory != Kernel || controller == "pids" && e.Pids != Kernel {
			continue
		}
		if err := d.Set(limit); err != nil {
			return err
		}
	}
	return nil
}
