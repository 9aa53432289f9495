package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type queueMetrics struct {
	wait    *prometheus.HistogramVec
	refused *prometheus.CounterVec
}

func newQueueMetrics(r prometheus.Registerer) queueMetrics {
	m := queueMetrics{
		wait:    histogram("penstock_queue_wait_seconds", "From asking for a slot to having it.", waitSeconds, "client"),
		refused: counter("penstock_admission_refused_total", "Requests refused before anything was started.", "client", "reason"),
	}
	r.MustRegister(m.wait, m.refused)
	return m
}

// QueueWait notes how long an admitted request waited.
func (m *Metrics) QueueWait(client string, waited time.Duration) {
	m.queue.wait.WithLabelValues(m.clients.label(client)).Observe(waited.Seconds())
}

// Refused counts a refusal; reason is one of admit's.
func (m *Metrics) Refused(client, reason string) {
	m.queue.refused.WithLabelValues(m.clients.label(client), reason).Inc()
}
