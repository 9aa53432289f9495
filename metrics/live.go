package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/admit"
	"penstock/run"
	"penstock/spawn"
)

// Sources are read at each scrape, from memory: none may block or touch a
// group. So a scrape costs no more than its text, however many ask, and a group
// that is dying, frozen or slow to read can't hold it up: that one is only
// missing from the next snapshot.
type Sources struct {
	Snapshot  func() run.Snapshot
	Admission func() admit.Stats
	Isolation func() spawn.Isolation
	Health    func() Health
}

// Health is the daemon's own judgement of itself.
type Health struct {
	Ready, Wedged bool
	LogDropped    uint64 // lines
}

// staleAfter is how old the last look at the groups may be. What was read
// before is not shown as if it were now.
const staleAfter = 15 * time.Second

// live turns snapshots into gauges. A run that ended between two looks is
// simply not in the snapshot.
type live struct {
	from              Sources
	now               func() time.Time
	clients, backends *bound
	runs              runGauges
	tree              treeGauges
	admission         admissionGauges
	isolation         isolationGauges
}

func newLive(s Sources, m *Metrics) *live {
	return &live{
		from: s, now: m.now, clients: m.clients, backends: m.backends,
		runs: newRunGauges(), tree: newTreeGauges(), admission: newAdmissionGauges(), isolation: newIsolationGauges(),
	}
}

// desc describes a series whose value is made at the scrape.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (l *live) Describe(ch chan<- *prometheus.Desc) {
	l.runs.describe(ch)
	l.tree.describe(ch)
	l.admission.describe(ch)
	l.isolation.describe(ch)
}

// Collect implements prometheus.Collector.
func (l *live) Collect(ch chan<- prometheus.Metric) {
	out := output{ch}
	seen, isolation := l.from.Snapshot(), l.from.Isolation()
	fresh := l.now().Sub(seen.Heartbeat) <= staleAfter
	l.runs.collect(out, usedBy(seen.Runs, l.backends, isolation), fresh)
	l.tree.collect(out, seen, fresh)
	l.admission.collect(out, l.from.Admission(), l.clients)
	l.isolation.collect(out, isolation, l.from.Health())
}

// output writes constant metrics; a nil figure makes no series.
type output struct{ ch chan<- prometheus.Metric }

func (o output) gauge(d *prometheus.Desc, v float64, labels ...string) {
	o.metric(d, prometheus.GaugeValue, v, labels)
}

func (o output) counter(d *prometheus.Desc, v float64) {
	o.metric(d, prometheus.CounterValue, v, nil)
}

func (o output) bytes(d *prometheus.Desc, v *uint64, labels ...string) {
	if v != nil {
		o.gauge(d, float64(*v), labels...)
	}
}

func (o output) percent(d *prometheus.Desc, v *float64) {
	if v != nil {
		o.gauge(d, *v/100)
	}
}

func (o output) metric(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels []string) {
	m, err := prometheus.NewConstMetric(d, kind, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	o.ch <- m
}

func describe(ch chan<- *prometheus.Desc, all ...*prometheus.Desc) {
	for _, d := range all {
		ch <- d
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
