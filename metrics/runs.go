package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/outcome"
	"penstock/run"
	"penstock/spawn"
)

type runMetrics struct {
	started, finished *prometheus.CounterVec
	failed            *prometheus.CounterVec
	duration, first   *prometheus.HistogramVec
	spawn, teardown   *prometheus.HistogramVec
	reaped            *prometheus.CounterVec
	ends              *sync.Map // of {backend, client}: canEnd was called
	receiptMetrics
}

func newRunMetrics(r prometheus.Registerer) runMetrics {
	m := runMetrics{
		started:        counter("penstock_runs_started_total", "Runs whose process was started.", "backend", "client"),
		failed:         counter("penstock_run_starts_failed_total", "Runs that were to be started and could not be, by the cause.", "backend", "cause"),
		finished:       counter("penstock_runs_finished_total", "Runs that were started and have ended, by the cause of their end.", "backend", "client", "cause"),
		duration:       histogram("penstock_run_duration_seconds", "From a run's start to the end of its last process.", runSeconds, "backend", "cause"),
		first:          histogram("penstock_run_time_to_first_output_seconds", "From spawn to the first event of the command line agent.", firstSeconds, "backend"),
		spawn:          histogram("penstock_run_spawn_seconds", "From making the group to the program running in it (mkdir to exec).", shortSeconds),
		teardown:       histogram("penstock_run_teardown_seconds", "From the kill to the group's removal (cgroup.kill to rmdir).", shortSeconds),
		reaped:         counter("penstock_processes_reaped_total", "Processes still in a group (cgroup.procs) when its leader had gone, or left by an earlier daemon.", "reason"),
		ends:           new(sync.Map),
		receiptMetrics: newReceiptMetrics(r),
	}
	m.reaped.WithLabelValues("boot")
	m.reaped.WithLabelValues("run_end")
	r.MustRegister(m.started, m.failed, m.finished, m.duration, m.first, m.spawn, m.teardown, m.reaped)
	return m
}

// Metrics is told of every step of every run.
var _ run.Observer = (*Metrics)(nil)

// RunStarted implements run.Observer.
func (m *Metrics) RunStarted(r run.Record, spawn time.Duration) {
	backend, client := m.backends.label(r.Backend), m.clients.label(r.Client)
	m.runs.started.WithLabelValues(backend, client).Inc()
	m.runs.canEnd(backend, client)
	observe(m.runs.spawn.WithLabelValues(), spawn.Seconds(), exemplar(runID, r.ID))
}

// canFail makes failures to start 0: the first one must be an increase.
func (m runMetrics) canFail(backends []string) {
	for _, backend := range backends {
		m.failed.WithLabelValues(backend, string(outcome.CLIMissing))
		m.failed.WithLabelValues(backend, string(outcome.StartFailed))
	}
}

// canEnd makes a started run's possible ends 0: the first of a kind must be an
// increase, and for all clients of all backends they would be too many.
func (m runMetrics) canEnd(backend, client string) {
	if _, known := m.ends.LoadOrStore([2]string{backend, client}, true); known {
		return
	}
	for _, cause := range []outcome.Cause{
		outcome.Completed, outcome.CLIError, outcome.MemoryLimit, outcome.PidsLimit, outcome.Timeout, outcome.Stalled, outcome.OutputLimit, outcome.Killed,
		outcome.Cancelled, outcome.Lost, outcome.ClientGone, outcome.ShuttingDown, outcome.ProviderAuth, outcome.ProviderRateLimit, outcome.ProviderError,
		outcome.InvalidOutput, outcome.UnsupportedInput,
	} {
		m.finished.WithLabelValues(backend, client, string(cause))
	}
}

// StartFailed counts a run that could not be started, which is no start and no end.
func (m *Metrics) StartFailed(backend string, cause outcome.Cause) {
	m.runs.failed.WithLabelValues(m.backends.label(backend), string(cause)).Inc()
}

// FirstOutput implements run.Observer.
func (m *Metrics) FirstOutput(r run.Record, after time.Duration) {
	observe(m.runs.first.WithLabelValues(m.backends.label(r.Backend)), after.Seconds(), exemplar(runID, r.ID))
}

// RunFinished implements run.Observer. What the kernel did not tell is not
// counted: absent is not zero.
func (m *Metrics) RunFinished(r run.Record, o outcome.Outcome) {
	backend, cause, from := m.backends.label(r.Backend), string(r.Cause), exemplar(runID, r.ID)
	count(m.runs.finished.WithLabelValues(backend, m.clients.label(r.Client), cause), 1, from)
	if !o.Started.IsZero() && r.Ended != nil {
		observe(m.runs.duration.WithLabelValues(backend, cause), r.Ended.Sub(o.Started).Seconds(), from)
	}
	if o.Teardown > 0 {
		observe(m.runs.teardown.WithLabelValues(), o.Teardown.Seconds(), from)
	}
	m.runs.reaped.WithLabelValues("run_end").Add(float64(o.Survived))
	m.runs.used(backend, from, o.Receipt)
}

// Reaped counts processes found at start, left by an earlier daemon.
func (m *Metrics) Reaped(atBoot int) { m.runs.reaped.WithLabelValues("boot").Add(float64(atBoot)) }

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
func (m receiptMetrics) counted(backends []string, isolation spawn.Isolation) {
	for _, backend := range backends {
		if isolation.Memory == kernel {
			m.oom.WithLabelValues(backend)
		}
		if isolation.Pids == kernel {
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
