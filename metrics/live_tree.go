package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/run"
	"penstock/spawn"
)

// treeGauges are of the group that holds all runs.
type treeGauges struct {
	processes, memory, files, dying *prometheus.Desc
	cpuPressure, memoryPressure     *prometheus.Desc
	sampled                         *prometheus.Desc
}

func newTreeGauges() treeGauges {
	return treeGauges{
		processes:      desc("penstock_cgroup_tree_processes", "Processes in all runs' groups (cgroup.procs)."),
		memory:         desc("penstock_cgroup_tree_memory_bytes", "Memory of the group that holds all runs (memory.current, or the watch's last sum)."),
		files:          desc("penstock_cgroup_tree_shmem_bytes", "Files in memory file systems that runs wrote, also finished ones; part of the tree's memory (memory.stat: shmem)."),
		dying:          desc("penstock_cgroup_tree_dying_groups", "Removed groups that the kernel still keeps for pages charged to them (cgroup.stat: nr_dying_descendants)."),
		cpuPressure:    desc("penstock_cgroup_cpu_pressure_ratio", "Part of the last 10 s in which some task of the runs waited for a processor (cpu.pressure: some avg10)."),
		memoryPressure: desc("penstock_cgroup_memory_pressure_ratio", "Part of the last 10 s in which some task of the runs waited for memory (memory.pressure: some avg10)."),
		sampled:        desc("penstock_sample_timestamp_seconds", "When the daemon last looked at the groups, Unix time; it does so every second."),
	}
}

func (g treeGauges) describe(ch chan<- *prometheus.Desc) {
	describe(ch, g.processes, g.memory, g.files, g.dying, g.cpuPressure, g.memoryPressure, g.sampled)
}

func (g treeGauges) collect(out output, s run.Snapshot, fresh bool) {
	if !s.Heartbeat.IsZero() {
		out.gauge(g.sampled, float64(s.Heartbeat.UnixMilli())/1000)
	}
	if !fresh {
		return
	}
	out.gauge(g.processes, float64(s.Processes))
	out.bytes(g.memory, s.Memory)
	out.bytes(g.files, s.FilesInMemory)
	out.bytes(g.dying, s.DyingGroups)
	out.percent(g.cpuPressure, s.Pressure.CPUSomeAvg10)
	out.percent(g.memoryPressure, s.Pressure.MemorySomeAvg10)
}

// isolationGauges tell how the daemon and its groups are.
type isolationGauges struct{ leaked, retries, enforced, ready, wedged, unlogged *prometheus.Desc }

func newIsolationGauges() isolationGauges {
	return isolationGauges{
		leaked:   desc("penstock_groups_leaked", "Groups that could not be removed yet: a process in them can't be killed."),
		retries:  desc("penstock_group_remove_retries_total", "Removals of a group that had to be tried again (rmdir: EBUSY)."),
		enforced: desc("penstock_isolation_enforced", "Always 1; the labels say who holds each limit: the kernel, or the daemon's watch.", "resource", "by"),
		ready:    desc("penstock_ready", "Whether a new request would be taken, as /readyz says: 1 or 0."),
		wedged:   desc("penstock_wedged", "Whether the daemon or all of its slots stand still, as /health says: 1 or 0."),
		unlogged: desc("penstock_log_lines_dropped_total", "Log lines that were dropped because what they are written to did not take them."),
	}
}

func (g isolationGauges) describe(ch chan<- *prometheus.Desc) {
	describe(ch, g.leaked, g.retries, g.enforced, g.ready, g.wedged, g.unlogged)
}

func (g isolationGauges) collect(out output, isolation spawn.Isolation, h Health) {
	out.gauge(g.ready, truth(h.Ready))
	out.gauge(g.wedged, truth(h.Wedged))
	out.counter(g.unlogged, float64(h.LogDropped))
	out.gauge(g.leaked, float64(isolation.LeakedGroups))
	out.counter(g.retries, float64(isolation.RemoveRetries))
	for resource, by := range map[string]string{
		"memory": string(isolation.Memory), "pids": string(isolation.Pids), "kill": string(isolation.Kill), "cpu": string(isolation.CPU),
	} {
		if by != "" {
			out.gauge(g.enforced, 1, resource, by)
		}
	}
}
