package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/run"
	"penstock/spawn"
)

// runGauges are sums over the live runs of a backend.
type runGauges struct{ active, stalled, memory, pids *prometheus.Desc }

func newRunGauges() runGauges {
	return runGauges{
		active:  desc("penstock_runs_active", "Runs that are live.", "backend"),
		stalled: desc("penstock_runs_stalled", "Live runs that showed no output, processor time and I/O for 30 s.", "backend"),
		memory:  desc("penstock_cgroup_memory_bytes", "Memory of live runs' groups (memory.current, or the watch's last sum).", "backend"),
		pids:    desc("penstock_cgroup_pids", "Tasks in live runs' groups (pids.current, or the watch's last sum).", "backend"),
	}
}

func (g runGauges) describe(ch chan<- *prometheus.Desc) {
	describe(ch, g.active, g.stalled, g.memory, g.pids)
}

// collect shows what is read from groups only while it is fresh.
func (g runGauges) collect(out output, all map[string]*backendUse, fresh bool) {
	for backend, u := range all {
		out.gauge(g.active, float64(u.active), backend)
		if fresh {
			out.gauge(g.stalled, float64(u.stalled), backend)
			out.bytes(g.memory, u.memory, backend)
			out.bytes(g.pids, u.pids, backend)
		}
	}
}

// backendUse is what the live runs of one backend have; nil is unknown.
type backendUse struct {
	active, stalled int
	memory, pids    *uint64
}

// usedBy has every known backend. One without a live run uses nothing, of what
// is measured at all.
func usedBy(runs []run.Live, backends *bound, isolation spawn.Isolation) map[string]*backendUse {
	all := map[string]*backendUse{}
	for _, r := range runs {
		name := backends.label(r.Backend)
		u := all[name]
		if u == nil {
			u = &backendUse{}
			all[name] = u
		}
		u.active++
		if r.Stalled {
			u.stalled++
		}
		u.memory, u.pids = sum(u.memory, r.Memory), sum(u.pids, r.Pids)
	}
	for _, name := range backends.values() {
		if all[name] == nil {
			all[name] = &backendUse{memory: nothing(isolation.Memory != ""), pids: nothing(isolation.Pids != "")}
		}
	}
	return all
}

// sum of what is known: a run in its first second isn't measured yet.
func sum(a, b *uint64) *uint64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	n := *a + *b
	return &n
}

func nothing(known bool) *uint64 {
	if !known {
		return nil
	}
	return new(uint64)
}
