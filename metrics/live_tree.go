package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"penstock/run"
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
