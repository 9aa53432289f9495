package cgroup

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
	// Exceeded says why our own watch ended the group: "memory" or "pids" for
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
	rec := Receipt{EnforcedBy: g.root.enforced}
	// What the watch saw is ours, whatever becomes of the group.
	g.seen.enter(&rec, g.settings)
	// Every group has this file: without it the group itself is gone, and the
	// absence of the others would tell nothing.
	stat, err := parseIn(g.dir, "cpu.stat", parseFlat)
	if err != nil {
		return rec, err
	}
	cpu := flat(stat)
	rec.CPUUserUsec, rec.CPUSystemUsec, rec.CPUThrottledUsec = cpu.get("user_usec"), cpu.get("system_usec"), cpu.get("throttled_usec")
	r := &readings{d: g.dir}
	if rec.EnforcedBy.Memory == Kernel {
		rec.memory(r)
		if positive(rec.OOMKills) || positive(rec.OOMGroupKills) {
			rec.OOMAt = rec.oomAt(g.budgetOOMs, g.root.budgetOOMs())
		}
	}
	if rec.EnforcedBy.Pids == Kernel {
		rec.PidsPeak = r.value("pids.peak")
		rec.PidsMax = r.limit("pids.max")
		rec.PidsRefused = r.flat("pids.events").get("max")
		if now := g.root.tasksRefused(); now != nil && g.tasksRefused != nil && *now > *g.tasksRefused {
			rec.RunsPidsRefused = new(*now - *g.tasksRefused)
		}
	}
	rec.MemoryPressureUsec = r.pressure("memory.pressure").some.totalUsec()
	rec.CPUPressureUsec = r.pressure("cpu.pressure").some.totalUsec()
	if g.root.countsIO {
		if io := parsed(r, "io.stat", parseIOStat); io != nil {
			rec.IOReadBytes, rec.IOWriteBytes = &io.read, &io.written
		}
	}
	return rec, r.err()
}

// memory reads the files of the memory controller.
func (rec *Receipt) memory(r *readings) {
	all := r.flat("memory.events")
	local := all
	if positive(all.get("oom")) || positive(all.get("oom_group_kill")) {
		// What happened in a group the run made below its own, or above it, is no
		// event of its own; where nothing happened at all there is nothing to read.
		local = r.flat("memory.events.local")
	}
	rec.MemoryPeakBytes = r.value("memory.peak")
	rec.MemoryMaxBytes = r.limit("memory.max")
	rec.MemoryHighEvents, rec.MemoryMaxEvents = all.get("high"), all.get("max")
	rec.OOMEvents = local.get("oom")
	rec.OOMGroupKills = local.get("oom_group_kill")
	// A victim in a group the run made below its own counts only in the
	// hierarchical file.
	rec.OOMKills = all.get("oom_kill")
	rec.SwapPeakBytes = r.value("memory.swap.peak")
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
func (r *Root) budgetOOMs() *uint64 {
	m, err := parseIn(r.runs, "memory.events.local", parseFlat)
	if err != nil {
		return nil
	}
	return flat(m).get("oom")
}

// tasksRefused counts the forks refused because all runs together had as many
// tasks as they may (pids.events.local: max, Linux 6.11); nil where the kernel
// doesn't tell.
func (r *Root) tasksRefused() *uint64 {
	m, err := parseIn(r.runs, "pids.events.local", parseFlat)
	if err != nil {
		return nil
	}
	return flat(m).get("max")
}
