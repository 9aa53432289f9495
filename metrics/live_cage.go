package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/spawn"
)

// cageGauges tell how the daemon and its groups are.
type cageGauges struct{ leaked, retries, enforced, ready, wedged, unlogged *prometheus.Desc }

func newCageGauges() cageGauges {
	return cageGauges{
		leaked:   desc("penstock_groups_leaked", "Groups that could not be removed yet: a process in them can't be killed."),
		retries:  desc("penstock_group_remove_retries_total", "Removals of a group that had to be tried again (rmdir: EBUSY)."),
		enforced: desc("penstock_isolation_enforced", "Always 1; the labels say who holds each limit: the kernel, or the daemon's watch.", "resource", "by"),
		ready:    desc("penstock_ready", "Whether a new request would be taken, as /readyz says: 1 or 0."),
		wedged:   desc("penstock_wedged", "Whether the daemon or all of its slots stand still, as /health says: 1 or 0."),
		unlogged: desc("penstock_log_lines_dropped_total", "Log lines that were dropped because what they are written to did not take them."),
	}
}

func (g cageGauges) describe(ch chan<- *prometheus.Desc) {
	describe(ch, g.leaked, g.retries, g.enforced, g.ready, g.wedged, g.unlogged)
}

func (g cageGauges) collect(out output, cage spawn.Isolation, h Health) {
	out.gauge(g.ready, truth(h.Ready))
	out.gauge(g.wedged, truth(h.Wedged))
	out.counter(g.unlogged, float64(h.LogDropped))
	out.gauge(g.leaked, float64(cage.LeakedGroups))
	out.counter(g.retries, float64(cage.RemoveRetries))
	for resource, by := range map[string]string{
		"memory": string(cage.Memory), "pids": string(cage.Pids), "kill": string(cage.Kill), "cpu": string(cage.CPU),
	} {
		if by != "" {
			out.gauge(g.enforced, 1, resource, by)
		}
	}
}
