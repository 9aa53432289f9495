package cgroup

// Receipt is what a run used, read from its group before removal. A nil field
// is one the kernel (or this host) doesn't tell, which is not zero.
type Receipt struct {
	MemoryPeakBytes  *uint64 `json:"memory_peak_bytes,omitempty"` // memory.peak (5.19); an estimate where Estimated has "memory"
	MemoryMaxBytes   *uint64 `json:"memory_max_bytes,omitempty"`  // the limit in force
	OOMEvents        *uint64 `json:"oom_events,omitempty"`        // memory.events.local: oom
	OOMKills         *uint64 `json:"oom_kills,omitempty"`         // memory.events: oom_kill
	OOMGroupKills    *uint64 `json:"oom_group_kills,omitempty"`   // memory.events.local: oom_group_kill (5.17)
	SwapPeakBytes    *uint64 `json:"swap_peak_bytes,omitempty"`
	PidsPeak         *uint64 `json:"pids_peak,omitempty"` // pids.peak (6.1)
	PidsMax          *uint64 `json:"pids_max,omitempty"`
	PidsRefused      *uint64 `json:"pids_refused,omitempty"` // pids.events: max
	CPUUserUsec      *uint64 `json:"cpu_user_usec,omitempty"`
	CPUSystemUsec    *uint64 `json:"cpu_system_usec,omitempty"`
	CPUThrottledUsec *uint64 `json:"cpu_throttled_usec,omitempty"`
	IOReadBytes      *uint64 `json:"io_read_bytes,omitempty"`
	IOWriteBytes     *uint64 `json:"io_write_bytes,omitempty"`
	// MemoryPressureUsec and CPUPressureUsec are the totals of the "some" line.
	MemoryPressureUsec *uint64 `json:"memory_pressure_usec,omitempty"`
	CPUPressureUsec    *uint64 `json:"cpu_pressure_usec,omitempty"`
	// Exceeded is "memory" or "pids" when our own watch ended the group.
	Exceeded   string   `json:"exceeded,omitempty"`
	Estimated  []string `json:"estimated,omitempty"` // fields that are sampled, not counted by the kernel
	EnforcedBy Enforced `json:"enforced_by"`
}

// Receipt reads what the run used; call it when the group is empty and before
// Remove. A failure comes with all that could be read.
func (g *Group) Receipt() (Receipt, error) {
	if _, err := g.dir.populated(); err != nil {
		return Receipt{EnforcedBy: g.root.enforced}, err
	}
	r := &readings{d: g.dir}
	local := r.flat("memory.events.local")
	cpu := r.flat("cpu.stat")
	rec := Receipt{
		MemoryPeakBytes: r.value("memory.peak"),
		MemoryMaxBytes:  r.limit("memory.max"),
		OOMEvents:       local.get("oom"),
		// A victim in a group the run made below its own counts only in the
		// hierarchical file.
		OOMKills:           r.flat("memory.events").get("oom_kill"),
		OOMGroupKills:      local.get("oom_group_kill"),
		SwapPeakBytes:      r.value("memory.swap.peak"),
		PidsPeak:           r.value("pids.peak"),
		PidsMax:            r.limit("pids.max"),
		PidsRefused:        r.flat("pids.events").get("max"),
		CPUUserUsec:        cpu.get("user_usec"),
		CPUSystemUsec:      cpu.get("system_usec"),
		CPUThrottledUsec:   cpu.get("throttled_usec"),
		MemoryPressureUsec: r.pressure("memory.pressure").some.totalUsec(),
		CPUPressureUsec:    r.pressure("cpu.pressure").some.totalUsec(),
		EnforcedBy:         g.root.enforced,
	}
	if io := parsed(r, "io.stat", parseIOStat); io != nil {
		rec.IOReadBytes, rec.IOWriteBytes = &io.read, &io.written
	}
	g.seen.enter(&rec, g.settings)
	return rec, r.err()
}
