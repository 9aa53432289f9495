package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/run"
	"penstock/spawn"
)

type runMetrics struct {
	started, finished         *prometheus.CounterVec
	duration, first           *prometheus.HistogramVec
	spawn, teardown           *prometheus.HistogramVec
	memory, memoryRatio, pids *prometheus.HistogramVec
	cpu, io                   *prometheus.CounterVec
	oom, refused, reaped      *prometheus.CounterVec
}

func newRunMetrics(r prometheus.Registerer) runMetrics {
	m := runMetrics{
		started:     counter("penstock_runs_started_total", "Runs whose process was started.", "backend", "client"),
		finished:    counter("penstock_runs_finished_total", "Runs that ended, by the cause of their end.", "backend", "client", "cause"),
		duration:    histogram("penstock_run_duration_seconds", "From a run's start until its group was gone.", runSeconds, "backend", "cause"),
		first:       histogram("penstock_run_time_to_first_output_seconds", "From spawn to the first event of the command line agent.", firstSeconds, "backend"),
		spawn:       histogram("penstock_run_spawn_seconds", "From making the group to the process running in it.", shortSeconds),
		teardown:    histogram("penstock_run_teardown_seconds", "From the kill to the group's removal.", shortSeconds),
		memory:      histogram("penstock_run_memory_peak_bytes", "Peak memory of a run's group; sampled where penstock_isolation_enforced says watch.", memoryBytes, "backend"),
		memoryRatio: histogram("penstock_run_memory_peak_ratio", "Peak memory of a run's group as a part of its limit.", ratios, "backend"),
		pids:        histogram("penstock_run_pids_peak", "Peak number of tasks in a run's group; sampled where penstock_isolation_enforced says watch.", processes, "backend"),
		cpu:         counter("penstock_run_cpu_seconds_total", "Processor time of finished runs.", "backend", "mode"),
		io:          counter("penstock_run_io_bytes_total", "Bytes finished runs read from and wrote to block devices.", "backend", "op"),
		oom:         counter("penstock_runs_oom_kills_total", "Processes the kernel killed in runs' groups for want of memory.", "backend"),
		refused:     counter("penstock_runs_pids_refused_total", "Forks the kernel refused in runs' groups.", "backend"),
		reaped:      counter("penstock_processes_reaped_total", "Processes still there when their leader had gone, or left by an earlier daemon.", "reason"),
	}
	m.reaped.WithLabelValues("boot")
	m.reaped.WithLabelValues("run_end")
	r.MustRegister(m.started, m.finished, m.duration, m.first, m.spawn, m.teardown, m.memory, m.memoryRatio, m.pids, m.cpu, m.io, m.oom, m.refused, m.reaped)
	return m
}

// Metrics is told of every step of every run.
var _ run.Observer = (*Metrics)(nil)

// RunStarted implements run.Observer.
func (m *Metrics) RunStarted(r run.Record, spawn time.Duration) {
	m.runs.started.WithLabelValues(r.Backend, m.clients.label(r.Client)).Inc()
	observe(m.runs.spawn.WithLabelValues(), spawn.Seconds(), "run_id", r.ID)
}

// FirstOutput implements run.Observer.
func (m *Metrics) FirstOutput(r run.Record, after time.Duration) {
	observe(m.runs.first.WithLabelValues(r.Backend), after.Seconds(), "run_id", r.ID)
}

// RunFinished implements run.Observer. What the kernel did not tell is not
// counted: absent is not zero.
func (m *Metrics) RunFinished(r run.Record, o spawn.Outcome) {
	cause := string(r.Cause)
	m.runs.finished.WithLabelValues(r.Backend, m.clients.label(r.Client), cause).Inc()
	if r.Started != nil && r.Ended != nil {
		observe(m.runs.duration.WithLabelValues(r.Backend, cause), r.Ended.Sub(*r.Started).Seconds(), "run_id", r.ID)
	}
	if o.Teardown > 0 {
		observe(m.runs.teardown.WithLabelValues(), o.Teardown.Seconds(), "run_id", r.ID)
	}
	m.runs.reaped.WithLabelValues("run_end").Add(float64(o.Survived))
	m.runs.used(r.Backend, r.ID, o.Receipt)
}

// Reaped counts processes found at start, left by an earlier daemon.
func (m *Metrics) Reaped(atBoot int) { m.runs.reaped.WithLabelValues("boot").Add(float64(atBoot)) }

const microsecond = 1e-6

func (m runMetrics) used(backend, id string, r spawn.Receipt) {
	if r.MemoryPeakBytes != nil {
		observe(m.memory.WithLabelValues(backend), float64(*r.MemoryPeakBytes), "run_id", id)
		if r.MemoryMaxBytes != nil && *r.MemoryMaxBytes > 0 {
			observe(m.memoryRatio.WithLabelValues(backend), float64(*r.MemoryPeakBytes)/float64(*r.MemoryMaxBytes), "run_id", id)
		}
	}
	if r.PidsPeak != nil {
		observe(m.pids.WithLabelValues(backend), float64(*r.PidsPeak), "run_id", id)
	}
	add(m.cpu, r.CPUUserUsec, microsecond, backend, "user")
	add(m.cpu, r.CPUSystemUsec, microsecond, backend, "system")
	add(m.io, r.IOReadBytes, 1, backend, "read")
	add(m.io, r.IOWriteBytes, 1, backend, "write")
	add(m.oom, r.OOMKills, 1, backend)
	add(m.refused, r.PidsRefused, 1, backend)
}
