package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/outcome"
	"penstock/run"
)

type runMetrics struct {
	started, finished *prometheus.CounterVec
	failed            *prometheus.CounterVec
	duration, first   *prometheus.HistogramVec
	spawn, teardown   *prometheus.HistogramVec
	reaped            *prometheus.CounterVec
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
	for _, cause := range []outcome.Cause{
		outcome.Completed, outcome.CLIError, outcome.MemoryLimit, outcome.PidsLimit, outcome.Timeout, outcome.Stalled, outcome.OutputLimit, outcome.Killed,
		outcome.Cancelled, outcome.Lost, outcome.ClientGone, outcome.ShuttingDown, outcome.ProviderAuth, outcome.ProviderRateLimit, outcome.ProviderError,
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
