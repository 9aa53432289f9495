package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/outcome"
	"penstock/spawn"
)

// receiptMetrics are what finished runs took, by their receipts.
type receiptMetrics struct {
	memory, memoryRatio, pids *prometheus.HistogramVec
	cpu, io                   *prometheus.CounterVec
	oom, refused, waited      *prometheus.CounterVec
}

func newReceiptMetrics(r prometheus.Registerer) receiptMetrics {
	m := receiptMetrics{
		memory:      histogram("penstock_run_memory_peak_bytes", "Peak memory of a finished run's group (memory.peak; sampled every 50 ms where penstock_isolation_enforced says watch).", memoryBytes, "backend"),
		memoryRatio: histogram("penstock_run_memory_peak_ratio", "Peak memory of a finished run's group as a part of its limit (memory.peak / memory.max).", ratios, "backend"),
		pids:        histogram("penstock_run_pids_peak", "Peak number of tasks in a finished run's group (pids.peak; sampled every 50 ms where penstock_isolation_enforced says watch).", processes, "backend"),
		cpu:         counter("penstock_run_cpu_seconds_total", "Processor time of finished runs (cpu.stat).", "backend", "mode"),
		io:          counter("penstock_run_io_bytes_total", "Bytes finished runs read from and wrote to block devices (io.stat).", "backend", "op"),
		oom:         counter("penstock_runs_oom_kills_total", "Kills for want of memory in finished runs (memory.events: oom_kill; the kernel counts its first victim twice when it kills the whole group).", "backend"),
		refused:     counter("penstock_runs_pids_refused_total", "Forks of finished runs that the kernel refused (pids.events: max).", "backend"),
		waited:      counter("penstock_run_memory_pressure_seconds_total", "Time in which some task of a finished run waited for memory (memory.pressure: some total).", "backend"),
	}
	r.MustRegister(m.waited, m.memory, m.memoryRatio, m.pids, m.cpu, m.io, m.oom, m.refused)
	return m
}

// counted makes 0 what the kernel would count, so that the first OOM of a
// daemon's life is an increase.
func (m receiptMetrics) counted(backends []string, cage spawn.Isolation) {
	for _, backend := range backends {
		if cage.Memory == kernel {
			m.oom.WithLabelValues(backend)
		}
		if cage.Pids == kernel {
			m.refused.WithLabelValues(backend)
		}
	}
}

const (
	kernel      = "kernel"
	microsecond = 1e-6
)

func (m receiptMetrics) used(backend string, from prometheus.Labels, r outcome.Receipt) {
	if r.MemoryPeakBytes != nil {
		observe(m.memory.WithLabelValues(backend), float64(*r.MemoryPeakBytes), from)
		if r.MemoryMaxBytes != nil && *r.MemoryMaxBytes > 0 {
			observe(m.memoryRatio.WithLabelValues(backend), float64(*r.MemoryPeakBytes)/float64(*r.MemoryMaxBytes), from)
		}
	}
	if r.PidsPeak != nil {
		observe(m.pids.WithLabelValues(backend), float64(*r.PidsPeak), from)
	}
	// add makes no series of what is unknown: a zero would be read as a figure.
	add := func(c *prometheus.CounterVec, v *uint64, unit float64, labels ...string) {
		if v != nil {
			count(c.WithLabelValues(labels...), float64(*v)*unit, from)
		}
	}
	add(m.cpu, r.CPUUserUsec, microsecond, backend, "user")
	add(m.cpu, r.CPUSystemUsec, microsecond, backend, "system")
	add(m.io, r.IOReadBytes, 1, backend, "read")
	add(m.io, r.IOWriteBytes, 1, backend, "write")
	add(m.oom, r.OOMKills, 1, backend)
	add(m.refused, r.PidsRefused, 1, backend)
	add(m.waited, r.MemoryPressureUsec, microsecond, backend)
}
