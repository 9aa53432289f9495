// Package metrics counts what happens and shows it to Prometheus: counters and
// histograms are fed by the packages above and by run.Observer, gauges are read
// from memory snapshots at the scrape. Labels are bounded; a run id is never a
// label, only an exemplar.
//
//	run (Observer) --------> runs.go       starts, ends, receipts   \
//	server, admission -----> http.go, admission.go                   > metrics.go: registry, handler
//	a scrape, Sources -----> live.go       gauges from snapshots    /
//	                           live_runs.go  live runs, by backend
//	                           live_tree.go  the group of all runs, isolation
//	series.go: how a series is made: buckets, exemplars, bounded labels
//
// docs/metrics.md has every series; a test holds page and code together. The
// dashboards in grafana/ are made by tools/grafana, the rules in rules/ by hand.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options of New.
type Options struct {
	Version, Commit string
	Clients         []string // names that may be a label; all others are "other"
	Backends        []string // likewise
	Logger          *slog.Logger
}

// Metrics is one daemon's own registry. Safe for concurrent use; no call blocks.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	now      func() time.Time
	clients  *bound
	backends *bound
	runs     runMetrics
	http     httpMetrics
	queue    queueMetrics
}

// New makes the registry with everything that needs no source.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), now: time.Now, clients: newBound(nil), backends: newBound(o.Backends)}
	m.runs = newRunMetrics(m.registry)
	m.http = newHTTPMetrics(m.registry)
	m.queue = newQueueMetrics(m.registry)
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "penstock_build_info", Help: "Always 1; the labels say what is running.",
	}, []string{"version", "commit", "goversion"})
	build.WithLabelValues(o.Version, o.Commit, runtime.Version()).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = newHandler(m.registry, o.Logger)
	m.SetClients(o.Clients)
	m.runs.canFail(m.backends.values())
	return m
}

// scrapesMax is how many scrapes are answered at once; more get 503.
const scrapesMax = 10

// newHandler answers with what can be told: one series that can't must not
// blind the operator to all others. The failure is logged and counted.
func newHandler(r *prometheus.Registry, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: scrapesMax, Registry: r,
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
	})
}

// Handler serves the text format and, where asked, OpenMetrics with exemplars
// or protobuf with native histograms.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Gatherer is the registry, for tests and for embedders.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Watch adds the gauges that are read at each scrape. Called once, before the
// first scrape.
func (m *Metrics) Watch(s Sources) {
	m.registry.MustRegister(newLive(s, m))
	m.runs.counted(m.backends.values(), s.Isolation())
}

// SetClients says which clients are counted apart from now on; what was counted
// of others stays.
func (m *Metrics) SetClients(names []string) {
	m.clients.set(names)
	for _, client := range append(m.clients.values(), other) {
		m.queue.known(client)
		for _, backend := range m.backends.values() {
			m.runs.started.WithLabelValues(backend, client)
		}
	}
}
