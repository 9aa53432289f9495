package cgroup

import "log/slog"

// LogValue gives a log line what is known, each under the name it has in JSON.
func (r Receipt) LogValue() slog.Value {
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
	figure("memory_peak_bytes", r.MemoryPeakBytes)
	figure("memory_max_bytes", r.MemoryMaxBytes)
	figure("memory_high_events", r.MemoryHighEvents)
	figure("memory_max_events", r.MemoryMaxEvents)
	figure("oom_events", r.OOMEvents)
	figure("oom_kills", r.OOMKills)
	figure("oom_group_kills", r.OOMGroupKills)
	word("oom_at", string(r.OOMAt))
	figure("swap_peak_bytes", r.SwapPeakBytes)
	figure("pids_peak", r.PidsPeak)
	figure("pids_max", r.PidsMax)
	figure("pids_refused", r.PidsRefused)
	figure("runs_pids_refused", r.RunsPidsRefused)
	figure("cpu_user_usec", r.CPUUserUsec)
	figure("cpu_system_usec", r.CPUSystemUsec)
	figure("cpu_throttled_usec", r.CPUThrottledUsec)
	figure("io_read_bytes", r.IOReadBytes)
	figure("io_write_bytes", r.IOWriteBytes)
	figure("memory_pressure_usec", r.MemoryPressureUsec)
	figure("cpu_pressure_usec", r.CPUPressureUsec)
	word("exceeded", r.Exceeded)
	if len(r.Estimated) > 0 {
		known = append(known, slog.Any("estimated", r.Estimated))
	}
	known = append(known, slog.Any("enforced_by", r.EnforcedBy))
	return slog.GroupValue(known...)
}
