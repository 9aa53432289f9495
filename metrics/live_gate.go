package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/admit"
)

// gateGauges are admission's: what it may give, has given, and who waits.
type gateGauges struct{ budget, reserved, slots, taken, waiting, oldest *prometheus.Desc }

func newGateGauges() gateGauges {
	return gateGauges{
		budget:   desc("penstock_budget_memory_bytes", "Memory that all reservations together may reach (budget.memory)."),
		reserved: desc("penstock_reserved_memory_bytes", "Memory that admission has reserved for runs (their limits, or their usual peaks with budget.overcommit)."),
		slots:    desc("penstock_budget_runs", "Runs of the default memory limit that may be live at once (budget.max_runs and budget.memory)."),
		taken:    desc("penstock_reserved_runs", "Slots taken: a run's is free when its group is gone."),
		waiting:  desc("penstock_queue_waiting", "Requests waiting for a slot.", "client"),
		oldest:   desc("penstock_queue_oldest_wait_seconds", "How long the request that waits longest for a slot has waited; 0 when none waits."),
	}
}

func (g gateGauges) describe(ch chan<- *prometheus.Desc) {
	describe(ch, g.budget, g.reserved, g.slots, g.taken, g.waiting, g.oldest)
}

func (g gateGauges) collect(out output, s admit.Stats, clients *bound) {
	if s.Budget > 0 { // 0 is unlimited
		out.gauge(g.budget, float64(s.Budget))
	}
	if s.MaxRuns > 0 { // 0 is unknown
		out.gauge(g.slots, float64(s.MaxRuns))
	}
	out.gauge(g.reserved, float64(s.Reserved))
	out.gauge(g.taken, float64(s.Running))
	out.gauge(g.oldest, s.OldestWait.Seconds())
	for client, n := range waitingBy(s.WaitingBy, clients) {
		out.gauge(g.waiting, float64(n), client)
	}
}

// waitingBy has every known client, so that a queue that drains reads 0.
func waitingBy(raw map[string]int, clients *bound) map[string]int {
	all := map[string]int{other: 0}
	for _, name := range clients.values() {
		all[name] = 0
	}
	for name, n := range raw {
		all[clients.label(name)] += n
	}
	return all
}
