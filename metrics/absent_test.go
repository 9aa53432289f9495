package metrics

import (
	"strings"
	"testing"
	"time"

	"penstock/outcome"
	"penstock/run"
	"penstock/spawn"
)

// has looks for a series by the beginning of its line.
func has(text, series string) bool { return strings.Contains(text, "\n"+series) }

func wantNone(t *testing.T, text string, series ...string) {
	t.Helper()
	for _, s := range series {
		if has(text, s) {
			t.Errorf("%s is shown, and no snapshot has it", s)
		}
	}
}

func want(t *testing.T, text string, series ...string) {
	t.Helper()
	for _, s := range series {
		if !has(text, s) {
			t.Errorf("no %s", s)
		}
	}
}

// Where nothing counts what was killed or read, nothing is said about it.
func TestCounters_UncountedHasNoSeries(t *testing.T) {
	m := New(Options{Backends: []string{"claude"}})
	m.RunFinished(run.Record{ID: "run_1", Backend: "claude", Cause: outcome.Completed}, outcome.Outcome{Receipt: outcome.Receipt{CPUUserUsec: number(1)}})
	text := exposition(t, m, "")
	wantNone(t, text, "penstock_runs_oom_kills_total", "penstock_runs_pids_refused_total", "penstock_run_io_bytes_total",
		"penstock_run_memory_peak_bytes", "penstock_run_pids_peak", `penstock_run_cpu_seconds_total{backend="claude",mode="system"}`,
		"penstock_run_duration_seconds", "penstock_run_teardown_seconds")
	want(t, text, `penstock_run_cpu_seconds_total{backend="claude",mode="user"} 1e-06`)
}

// Where the kernel counts, the first of a kind must be an increase.
func TestCounters_BeginAtZero(t *testing.T) {
	s := busy()
	s.isolation = spawn.Isolation{Memory: "kernel", Pids: "watch"}
	m := watched(s)
	text := exposition(t, m, "")
	want(t, text, `penstock_runs_oom_kills_total{backend="idle"} 0`,
		`penstock_runs_started_total{backend="idle",client="other"} 0`,
		`penstock_admission_refused_total{client="bot",reason="over_budget"} 0`)
	wantNone(t, text, "penstock_runs_pids_refused_total", "penstock_runs_finished_total")

	m.RunStarted(run.Record{ID: "run_1", Backend: "idle", Client: "bot"}, time.Millisecond)
	want(t, exposition(t, m, ""), `penstock_runs_finished_total{backend="idle",cause="memory_limit",client="bot"} 0`)
}

func TestLive_IdleBackend(t *testing.T) {
	text := exposition(t, watched(busy()), "")
	want(t, text, `penstock_runs_active{backend="idle"} 0`, `penstock_runs_stalled{backend="idle"} 0`,
		`penstock_cgroup_memory_bytes{backend="idle"} 0`, `penstock_cgroup_pids{backend="idle"} 0`)
	// sh's only run was not looked at yet.
	wantNone(t, text, `penstock_cgroup_memory_bytes{backend="sh"}`, `penstock_cgroup_pids{backend="sh"}`)
}

func TestLive_HostThatTellsNothing(t *testing.T) {
	s := busy()
	s.snapshot = run.Snapshot{Heartbeat: s.snapshot.Heartbeat}
	s.admission.Budget, s.admission.MaxRuns = 0, 0
	s.isolation.CPU = ""
	text := exposition(t, watched(s), "")
	wantNone(t, text, "penstock_cgroup_tree_memory_bytes", "penstock_cgroup_tree_shmem_bytes", "penstock_cgroup_tree_dying_groups",
		"penstock_cgroup_cpu_pressure_ratio", "penstock_cgroup_memory_pressure_ratio", "penstock_budget_memory_bytes", "penstock_budget_runs",
		`penstock_isolation_enforced{by="",`, `penstock_isolation_enforced{by="kernel",resource="cpu"}`)
	want(t, text, "penstock_cgroup_tree_processes 0", `penstock_isolation_enforced{by="watch",resource="pids"} 1`)
}

// A reading that hangs stops the dispatcher, not the scrape: what it saw last
// goes out of sight, and how long ago that was stays.
func TestLive_OldFigures(t *testing.T) {
	s := busy()
	s.snapshot.Heartbeat = begun.Add(time.Minute + time.Second - staleAfter - time.Millisecond)
	s.health = Health{Wedged: true}
	text := exposition(t, watched(s), "")
	wantNone(t, text, "penstock_cgroup_", "penstock_runs_stalled")
	want(t, text, `penstock_runs_active{backend="claude"} 2`, "penstock_sample_timestamp_seconds 1.700000045999e+09", "penstock_wedged 1", "penstock_ready 0")

	s.snapshot.Heartbeat = s.snapshot.Heartbeat.Add(time.Millisecond)
	want(t, exposition(t, watched(s), ""), `penstock_cgroup_memory_bytes{backend="claude"} 11`, "penstock_cgroup_tree_processes 3")
}
