package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type httpMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	open     prometheus.Gauge
	bytes    prometheus.Counter
}

func newHTTPMetrics(r prometheus.Registerer) httpMetrics {
	m := httpMetrics{
		requests: counter("penstock_http_requests_total", "HTTP requests answered.", "route", "method", "code"),
		duration: histogram("penstock_http_request_duration_seconds", "From an HTTP request's headers to the end of its reply, a stream's too.", httpSeconds, "route", "method", "code"),
		open:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "penstock_streams_open", Help: "Event streams being written now."}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_stream_bytes_total", Help: "Bytes written to event streams."}),
	}
	r.MustRegister(m.requests, m.duration, m.open, m.bytes)
	return m
}

// HTTPRequest counts one reply; route is a path template, id an exemplar.
func (m *Metrics) HTTPRequest(route, method string, code int, took time.Duration, id string) {
	status := strconv.Itoa(code)
	method = knownMethod(method)
	m.http.requests.WithLabelValues(route, method, status).Inc()
	observe(m.http.duration.WithLabelValues(route, method, status), took.Seconds(), exemplar(requestID, id))
}

// knownMethod bounds the label: a client may send any word.
func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS":
		return method
	}
	return other
}

// StreamOpened counts an event stream until StreamClosed.
func (m *Metrics) StreamOpened() { m.http.open.Inc() }

// StreamWrote is told each piece of a stream, in bytes, when it is written: a
// stream may last for an hour.
func (m *Metrics) StreamWrote(bytes int) { m.http.bytes.Add(float64(bytes)) }

// StreamClosed is the end of an event stream.
func (m *Metrics) StreamClosed() { m.http.open.Dec() }
