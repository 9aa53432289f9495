package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/admit"
	"penstock/run"
	"penstock/spawn"
)

// Sources are read at each scrape, from memory: none may block or touch a group.
type Sources struct {
	Snapshot  func() run.Snapshot
	Admission func() admit.Stats
	Isolation func() spawn.Isolation
}

// live turns snapshots into gauges. A run that ended between two looks is
// simply not in the snapshot.
type live struct {
	from    Sources
	clients clients

	active, stalled, memory, pids, cpuPressure, memoryPressure *prometheus.Desc
	treeMemory, treeFiles, treeProcesses                       *prometheus.Desc
	budget, reserved, waiting, leaked, retries, enforced       *prometheus.Desc
}

func newLive(s Sources, c clients) *live {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &live{
		from: s, clients: c,
		active:         desc("penstock_runs_active", "Runs that are live.", "backend"),
		stalled:        desc("penstock_runs_stalled", "Live runs without output, processor time and I/O.", "backend"),
		memory:         desc("penstock_cgroup_memory_bytes", "Memory of live runs' groups.", "backend"),
		pids:           desc("penstock_cgroup_pids", "Tasks in live runs' groups.", "backend"),
		cpuPressure:    desc("penstock_cgroup_cpu_pressure_ratio", "Part of the last 10 s in which some task of the runs waited for a processor."),
		memoryPressure: desc("penstock_cgroup_memory_pressure_ratio", "Part of the last 10 s in which some task of the runs waited for memory."),
		treeMemory:     desc("penstock_cgroup_tree_memory_bytes", "Memory of the group that holds all runs."),
		treeFiles:      desc("penstock_cgroup_tree_shmem_bytes", "Files in memory file systems that runs wrote, also finished ones; part of the tree's memory."),
		treeProcesses:  desc("penstock_cgroup_tree_processes", "Processes in all runs' groups."),
		budget:         desc("penstock_budget_memory_bytes", "Memory all live runs' limits may sum to; 0 is unlimited."),
		reserved:       desc("penstock_reserved_memory_bytes", "Memory reserved by live runs' limits."),
		waiting:        desc("penstock_queue_waiting", "Requests waiting for a slot.", "client"),
		leaked:         desc("penstock_groups_leaked", "Groups that could not be removed yet."),
		retries:        desc("penstock_group_remove_retries_total", "Removals of a group that had to be tried again."),
		enforced:       desc("penstock_isolation_enforced", "Always 1; who holds each limit.", "resource", "by"),
	}
}

// Describe implements prometheus.Collector.
func (l *live) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		l.active, l.stalled, l.memory, l.pids, l.cpuPressure, l.memoryPressure, l.treeMemory, l.treeFiles, l.treeProcesses,
		l.budget, l.reserved, l.waiting, l.leaked, l.retries, l.enforced,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *live) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	snapshot := l.from.Snapshot()
	for name, b := range byBackend(snapshot.Runs) {
		gauge(l.active, b.active, name)
		gauge(l.stalled, b.stalled, name)
		if b.memoryKnown {
			gauge(l.memory, b.memory, name)
		}
		if b.pidsKnown {
			gauge(l.pids, b.pids, name)
		}
	}
	gauge(l.treeProcesses, float64(snapshot.Processes))
	if snapshot.Memory != nil {
		gauge(l.treeMemory, float64(*snapshot.Memory))
	}
	if snapshot.FilesInMemory != nil {
		gauge(l.treeFiles, float64(*snapshot.FilesInMemory))
	}
	if v := snapshot.Pressure.CPUSomeAvg10; v != nil {
		gauge(l.cpuPressure, *v/100)
	}
	if v := snapshot.Pressure.MemorySomeAvg10; v != nil {
		gauge(l.memoryPressure, *v/100)
	}
	queue := l.from.Admission()
	gauge(l.budget, float64(queue.Budget))
	gauge(l.reserved, float64(queue.Reserved))
	for client, n := range l.waitingBy(queue.WaitingBy) {
		gauge(l.waiting, float64(n), client)
	}
	cage := l.from.Isolation()
	gauge(l.leaked, float64(cage.LeakedGroups))
	ch <- prometheus.MustNewConstMetric(l.retries, prometheus.CounterValue, float64(cage.RemoveRetries))
	for resource, by := range map[string]string{"memory": string(cage.Memory), "pids": string(cage.Pids), "kill": string(cage.Kill), "cpu": string(cage.CPU)} {
		if by != "" {
			gauge(l.enforced, 1, resource, by)
		}
	}
}

// waitingBy has every known client, so that a queue that drains reads 0.
func (l *live) waitingBy(raw map[string]int) map[string]int {
	out := map[string]int{other: 0}
	for name := range l.clients {
		out[name] = 0
	}
	for name, n := range raw {
		out[l.clients.label(name)] += n
	}
	return out
}

type backendUse struct {
	active, stalled, memory, pids float64
	memoryKnown, pidsKnown        bool
}

func byBackend(runs []run.Live) map[string]backendUse {
	out := map[string]backendUse{}
	for _, r := range runs {
		b := out[r.Backend]
		b.active++
		if r.Stalled {
			b.stalled++
		}
		if r.Memory != nil {
			b.memory, b.memoryKnown = b.memory+float64(*r.Memory), true
		}
		if r.Pids != nil {
			b.pids, b.pidsKnown = b.pids+float64(*r.Pids), true
		}
		out[r.Backend] = b
	}
	return out
}
