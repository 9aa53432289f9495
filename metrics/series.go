package metrics

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	runSeconds   = []float64{0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600}
	firstSeconds = []float64{0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
	shortSeconds = []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5}
	waitSeconds  = []float64{0.001, 0.01, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 240}
	httpSeconds  = []float64{0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600, 1800}
	memoryBytes  = prometheus.ExponentialBuckets(16<<20, 2, 12) // 16 MiB .. 32 GiB
	ratios       = []float64{0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1}
	processes    = prometheus.ExponentialBuckets(1, 2, 13) // 1 .. 4096
)

// histogram has classic buckets for dashboards of today and native ones for
// exact quantiles.
func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

const (
	runID     = "run_id"
	requestID = "request_id"
)

// exemplar leads from a figure back to one run or request. Nil where there is
// no id, or one too long: OpenMetrics bounds an exemplar's labels to 128
// characters in all, and the library panics beyond.
func exemplar(label, id string) prometheus.Labels {
	if id == "" || len(label)+len(id) > prometheus.ExemplarMaxRunes {
		return nil
	}
	return prometheus.Labels{label: id}
}

func observe(o prometheus.Observer, v float64, from prometheus.Labels) {
	if e, ok := o.(prometheus.ExemplarObserver); ok && from != nil {
		e.ObserveWithExemplar(v, from)
		return
	}
	o.Observe(v)
}

func count(c prometheus.Counter, v float64, from prometheus.Labels) {
	if e, ok := c.(prometheus.ExemplarAdder); ok && from != nil && v > 0 {
		e.AddWithExemplar(v, from)
		return
	}
	c.Add(v)
}

const other = "other"

// bound keeps the values of a label few: a name that the operator did not
// configure, such as one of many uids, is "other". Safe for concurrent use.
type bound struct {
	known atomic.Pointer[map[string]bool]
}

func newBound(names []string) *bound {
	b := &bound{}
	b.set(names)
	return b
}

func (b *bound) set(names []string) {
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = true
	}
	b.known.Store(&known)
}

func (b *bound) label(name string) string {
	if (*b.known.Load())[name] {
		return name
	}
	return other
}

// values are all known names, sorted.
func (b *bound) values() []string {
	var out []string
	for name := range *b.known.Load() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
