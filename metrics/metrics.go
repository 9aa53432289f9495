// Package metrics counts what happens and shows it to Prometheus: counters and
// histograms are fed by the packages above and by run.Observer, gauges are read
// from memory snapshots at the scrape. Labels are bounded; a run id is never a
// label, only an exemplar.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options of New.
type Options struct {
	Version, Commit string
	Clients         []string // names that may be a label; all others are "other"
}

// Metrics is one daemon's own registry. Safe for concurrent use; no call blocks.
type Metrics struct {
	registry *prometheus.Registry
	clients  clients
	runs     runMetrics
	http     httpMetrics
	queue    queueMetrics
}

// New makes the registry with everything that needs no source.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), clients: newClients(o.Clients)}
	m.runs = newRunMetrics(m.registry)
	m.http = newHTTPMetrics(m.registry)
	m.queue = newQueueMetrics(m.registry)
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "penstock_build_info", Help: "Always 1; the labels say what is running.",
	}, []string{"version", "commit", "goversion"})
	build.WithLabelValues(o.Version, o.Commit, runtime.Version()).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the text format and, where asked, OpenMetrics with exemplars.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4})
}

// Gatherer is the registry, for tests and for embedders.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Watch adds the gauges that are read at each scrape. Called once, before the
// first scrape.
func (m *Metrics) Watch(s Sources) { m.registry.MustRegister(newLive(s, m.clients)) }

const other = "other"

// clients bounds the client label: a token's name is the operator's word, a
// uid or anything else could be many.
type clients map[string]bool

func newClients(names []string) clients {
	c := clients{}
	for _, n := range names {
		c[n] = true
	}
	return c
}

func (c clients) label(client string) string {
	if c[client] {
		return client
	}
	return other
}
