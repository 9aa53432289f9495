package cgroup

import (
	"log/slog"

	"penstock/cgroup/cgroupfs"
)

// Receipt is what a run used, read from its group before removal. A nil field
// is one the kernel (or this host) doesn't tell, which is not zero.
type Receipt struct {
	MemoryPeakBytes *uint64 `json:"memory_peak_bytes,omitempty"` // memory.peak (5.19); an estimate where Estimated has "memory"
	MemoryMaxBytes  *uint64 `json:"memory_max_bytes,omitempty"`  // the limit in force
	// MemoryHighEvents and MemoryMaxEvents are memory.events: high and max, how
	// often it was over memory.high and throttled for it, and how often it was
	// about to pass memory.max.
	MemoryHighEvents *uint64 `json:"memory_high_events,omitempty"`
	MemoryMaxEvents  *uint64 `json:"memory_max_events,omitempty"`
	OOMEvents        *uint64 `json:"oom_events,omitempty"`      // memory.events.local: oom
	OOMKills         *uint64 `json:"oom_kills,omitempty"`       // memory.events: oom_kill
	OOMGroupKills    *uint64 `json:"oom_group_kills,omitempty"` // memory.events.local: oom_group_kill (5.17)
	// OOMAt says whose memory had run out when the kernel killed, "" when it
	// didn't or doesn't tell.
	OOMAt         OOMAt   `json:"oom_at,omitempty"`
	SwapPeakBytes *uint64 `json:"swap_peak_bytes,omitempty"`
	PidsPeak      *uint64 `json:"pids_peak,omitempty"` // pids.peak (6.1)
	PidsMax       *uint64 `json:"pids_max,omitempty"`
	PidsRefused   *uint64 `json:"pids_refused,omitempty"` // pids.events: max
	// RunsPidsRefused is how many forks of any run were refused, while this one was
	// there, because all together had as many tasks as they may (Linux 6.11: until
	// then PidsRefused counts those of its own); nil is none.
	RunsPidsRefused  *uint64 `json:"runs_pids_refused,omitempty"`
	CPUUserUsec      *uint64 `json:"cpu_user_usec,omitempty"`
	CPUSystemUsec    *uint64 `json:"cpu_system_usec,omitempty"`
	CPUThrottledUsec *uint64 `json:"cpu_throttled_usec,omitempty"`
	IOReadBytes      *uint64 `json:"io_read_bytes,omitempty"`
	IOWriteBytes     *uint64 `json:"io_write_bytes,omitempty"`
	// MemoryPressureUsec and CPUPressureUsec are the totals of the "some" line.
	MemoryPressureUsec *uint64 `json:"memory_pressure_usec,omitempty"`
	CPUPressureUsec    *uint64 `json:"cpu_pressure_usec,omitempty"`
	// Exceeded says why the enforcer ended the group: "memory" or "pids" for
	// a limit of its own, "budget" or "tasks" when all groups together passed
	// theirs and this had most.
	Exceeded   string   `json:"exceeded,omitempty"`
	Estimated  []string `json:"estimated,omitempty"` // fields that are sampled, not counted by the kernel
	EnforcedBy Enforced `json:"enforced_by"`
}

// OOMAt is the level at which memory ran out.
type OOMAt string

const (
	OOMOwn  OOMAt = "limit"  // the group's own memory.max
	OOMRuns OOMAt = "budget" // memory.max of the group of all runs
	OOMHost OOMAt = "host"   // a group above, such as the service's, or the machine
)

// Receipt reads what the run used; call it when the group is empty and before
// Remove. A failure comes with all that could be read.
func (g *Group) Receipt() (Receipt, error) {
	rec := Receipt{EnforcedBy: g.tree.enforced}
	// What the enforcer saw is ours, whatever becomes of the group.
	g.history.fillReceipt(&rec, g.limits)
	// Every group has this file: without it the group itself is gone, and the
	// absence of the others would tell nothing.
	stat, err := cgroupfs.Parse(g.dir, "cpu.stat", cgroupfs.ParseKeyed)
	if err != nil {
		return rec, err
	}
	cpu := cgroupfs.Keyed(stat)
	rec.CPUUserUsec, rec.CPUSystemUsec, rec.CPUThrottledUsec = cpu.Get("user_usec"), cpu.Get("system_usec"), cpu.Get("throttled_usec")
	r := &cgroupfs.StatReader{Dir: g.dir}
	if rec.EnforcedBy.Memory == Kernel {
		rec.memory(r)
		if positive(rec.OOMKills) || positive(rec.OOMGroupKills) {
			rec.OOMAt = rec.oomAt(g.budgetOOMs, g.tree.budgetOOMs())
		}
	}
	if rec.EnforcedBy.Pids == Kernel {
		rec.PidsPeak = r.Value("pids.peak")
		rec.PidsMax = r.Limit("pids.max")
		rec.PidsRefused = r.Keyed("pids.events").Get("max")
		if now := g.tree.tasksRefused(); now != nil && g.tasksRefused != nil && *now > *g.tasksRefused {
			rec.RunsPidsRefused = new(*now - *g.tasksRefused)
		}
	}
	rec.MemoryPressureUsec = r.Pressure("memory.pressure").Some.TotalUsec()
	rec.CPUPressureUsec = r.Pressure("cpu.pressure").Some.TotalUsec()
	if g.tree.root.CountsIO() {
		if io := cgroupfs.Optional(r, "io.stat", cgroupfs.ParseIOStat); io != nil {
			rec.IOReadBytes, rec.IOWriteBytes = &io.Read, &io.Written
		}
	}
	return rec, r.Err()
}

// memory reads the files of the memory controller.
func (rec *Receipt) memory(r *cgroupfs.StatReader) {
	all := r.Keyed("memory.events")
	local := all
	if positive(all.Get("oom")) || positive(all.Get("oom_group_kill")) {
		// What happened in a group the run made below its own, or above it, is no
		// event of its own; where nothing happened at all there is nothing to read.
		local = r.Keyed("memory.events.local")
	}
	rec.MemoryPeakBytes = r.Value("memory.peak")
	rec.MemoryMaxBytes = r.Limit("memory.max")
	rec.MemoryHighEvents, rec.MemoryMaxEvents = all.Get("high"), all.Get("max")
	rec.OOMEvents = local.Get("oom")
	rec.OOMGroupKills = local.Get("oom_group_kill")
	// A victim in a group the run made below its own counts only in the
	// hierarchical file.
	rec.OOMKills = all.Get("oom_kill")
	rec.SwapPeakBytes = r.Value("memory.swap.peak")
}

// oomAt tells from counters of the group of all runs, read when this group was
// made and now, where a kill came from.
func (rec *Receipt) oomAt(before, now *uint64) OOMAt {
	switch {
	case !positive(rec.OOMKills) && !positive(rec.OOMGroupKills), rec.OOMEvents == nil:
		return ""
	case *rec.OOMEvents > 0:
		return OOMOwn
	case before == nil || now == nil:
		return ""
	case *now > *before:
		return OOMRuns
	}
	return OOMHost
}

func positive(n *uint64) bool { return n != nil && *n > 0 }

// budgetOOMs counts how often all runs together had no memory left
// (memory.events.local: oom), nil where the kernel doesn't tell.
func (t *Tree) budgetOOMs() *uint64 {
	m, err := cgroupfs.Parse(t.runs, "memory.events.local", cgroupfs.ParseKeyed)
	if err != nil {
		return nil
	}
	return cgroupfs.Keyed(m).Get("oom")
}

// tasksRefused counts the forks refused because all runs together had as many
// tasks as they may (pids.events.local: max, Linux 6.11); nil where the kernel
// doesn't tell.
func (t *Tree) tasksRefused() *uint64 {
	m, err := cgroupfs.Parse(t.runs, "pids.events.local", cgroupfs.ParseKeyed)
	if err != nil {
		return nil
	}
	return cgroupfs.Keyed(m).Get("max")
}

// LogValue gives a log line what is known, each under the name it has in JSON.
func (rec Receipt) LogValue() slog.Value {
	var known []slog.Attr
	figure := func(name string, n *uint64) {
		if n != nil {
			known = append(known, slog.Uint64(name, *n))
		}
	}
	word := func(name, s string) {
		if s != "" {
			known = append(known, slog.String(name, s))
		}
	}
	figure("memory_peak_bytes", rec.MemoryPeakBytes)
	figure("memory_max_bytes", rec.MemoryMaxBytes)
	figure("memory_high_events", rec.MemoryHighEvents)
	figure("memory_max_events", rec.MemoryMaxEvents)
	figure("oom_events", rec.OOMEvents)
	figure("oom_kills", rec.OOMKills)
	figure("oom_group_kills", rec.OOMGroupKills)
	word("oom_at", string(rec.OOMAt))
	figure("swap_peak_bytes", rec.SwapPeakBytes)
	figure("pids_peak", rec.PidsPeak)
	figure("pids_max", rec.PidsMax)
	figure("pids_refused", rec.PidsRefused)
	figure("runs_pids_refused", rec.RunsPidsRefused)
	figure("cpu_user_usec", rec.CPUUserUsec)
	figure("cpu_system_usec", rec.CPUSystemUsec)
	figure("cpu_throttled_usec", rec.CPUThrottledUsec)
	figure("io_read_bytes", rec.IOReadBytes)
	figure("io_write_bytes", rec.IOWriteBytes)
	figure("memory_pressure_usec", rec.MemoryPressureUsec)
	figure("cpu_pressure_usec", rec.CPUPressureUsec)
	word("exceeded", rec.Exceeded)
	if len(rec.Estimated) > 0 {
		known = append(known, slog.Any("estimated", rec.Estimated))
	}
	known = append(known, slog.Any("enforced_by", rec.EnforcedBy))
	return slog.GroupValue(known...)
}
