package grafana

import "fmt"

// failure is the ends that an operator should look at: neither done nor wanted.
const failure = `cause!~"completed|cancelled|client_gone"`

// perSecond is the rate of a counter, summed by labels.
func perSecond(by, counter string) string {
	return fmt.Sprintf(`sum by (%s) (rate(%s[$__rate_interval]))`, by, counter)
}

// perMinute is the rate of what happens a few times an hour, summed by labels.
func perMinute(by, counter string) string {
	return fmt.Sprintf(`60 * sum by (%s) (rate(%s[$__rate_interval]))`, by, counter)
}

// within is what a counter grew by in the time shown. A series that is younger
// than that counts whole: increase() does not see the step from nothing to the
// first value, which would hide a daemon's first OOM.
func within(counter string) string {
	return fmt.Sprintf(`((%[1]s unless %[1]s offset $__range) or increase(%[1]s[$__range]))`, counter)
}

// quantiles are the median and the slow end of a histogram's classic buckets.
func quantiles(by, legend, histogram, selector string) []query {
	of := func(q string) string {
		group := "le"
		if by != "" {
			group = by + ", le"
		}
		return fmt.Sprintf(`histogram_quantile(%s, sum by (%s) (rate(%s_bucket{%s}[$__rate_interval])))`, q, group, histogram, selector)
	}
	if legend != "" {
		legend += " "
	}
	return []query{{of("0.5"), legend + "median"}, {of("0.95"), legend + "p95"}}
}
