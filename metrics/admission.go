package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/admit"
)

type queueMetrics struct {
	wait    *prometheus.HistogramVec
	refused *prometheus.CounterVec
}

func newQueueMetrics(r prometheus.Registerer) queueMetrics {
	m := queueMetrics{
		wait:    histogram("penstock_queue_wait_seconds", "From asking admission for a slot to having it.", waitSeconds, "client"),
		refused: counter("penstock_admission_refused_total", "Requests that admission refused: nothing was started.", "client", "reason"),
	}
	r.MustRegister(m.wait, m.refused)
	return m
}

// known makes a client's refusals 0, so that the first one is an increase.
func (m queueMetrics) known(client string) {
	for _, reason := range []admit.Reason{admit.QueueFull, admit.QueueTimeout, admit.OverBudget, admit.ShuttingDown} {
		m.refused.WithLabelValues(client, string(reason))
	}
}

// QueueWait notes how long an admitted request waited; run is an exemplar.
func (m *Metrics) QueueWait(client string, waited time.Duration, run string) {
	observe(m.queue.wait.WithLabelValues(m.clients.label(client)), waited.Seconds(), exemplar(runID, run))
}

// Refused counts a refusal; reason is one of admit's.
func (m *Metrics) Refused(client, reason string) {
	m.queue.refused.WithLabelValues(m.clients.label(client), reason).Inc()
}

// admissionGauges are what admission may give, has given, and how many requests wait.
type admissionGauges struct{ budget, reserved, slots, taken, waiting, oldest *prometheus.Desc }

func newAdmissionGauges() admissionGauges {
	return admissionGauges{
		budget:   desc("penstock_budget_memory_bytes", "Memory that all reservations together may reach (budget.memory)."),
		reserved: desc("penstock_reserved_memory_bytes", "Memory that admission has reserved for runs (their limits, or their usual peaks with budget.overcommit)."),
		slots:    desc("penstock_budget_runs", "Runs of the default memory limit that may be live at once (budget.max_runs and budget.memory)."),
		taken:    desc("penstock_reserved_runs", "Slots taken: a run's is free when its group is gone."),
		waiting:  desc("penstock_queue_waiting", "Requests waiting for a slot.", "client"),
		oldest:   desc("penstock_queue_oldest_wait_seconds", "How long the request that waits longest for a slot has waited; 0 when none waits."),
	}
}

func (g admissionGauges) describe(ch chan<- *prometheus.Desc) {
	describe(ch, g.budget, g.reserved, g.slots, g.taken, g.waiting, g.oldest)
}

func (g admissionGauges) collect(out output, s admit.Stats, clients *bound) {
	if s.Budget > 0 { // 0 is unlimited
		out.gauge(g.budget, float64(s.Budget))
	}
	if s.MaxRuns > 0 { // 0 is unknown
		out.gauge(g.slots, float64(s.MaxRuns))
	}
	out.gauge(g.reserved, float64(s.Reserved))
	out.gauge(g.taken, float64(s.Running))
	out.gauge(g.oldest, s.OldestWait.Seconds())
	for client, n := range waitingBy(s.WaitingBy, clients) {
		out.gauge(g.waiting, float64(n), client)
	}
}

// waitingBy has every known client, so that a queue that drains reads 0.
func waitingBy(raw map[string]int, clients *bound) map[string]int {
	all := map[string]int{other: 0}
	for _, name := range clients.values() {
		all[name] = 0
	}
	for name, n := range raw {
		all[clients.label(name)] += n
	}
	return all
}
