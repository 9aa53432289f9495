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
