package metrics

import "github.com/prometheus/client_golang/prometheus"

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
