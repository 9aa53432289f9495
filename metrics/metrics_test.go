package metrics

import (
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/admit"
	"penstock/run"
	"penstock/spawn"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func number(n uint64) *uint64 { return &n }

// exercised is a registry in which everything has happened once.
func exercised(t *testing.T) *Metrics {
	t.Helper()
	m := New(Options{Version: "v1", Commit: "abc", Clients: []string{"bot", "anonymous"}})
	half := 50.0
	m.Watch(Sources{
		Snapshot: func() run.Snapshot {
			s := run.Snapshot{Processes: 3, Memory: number(1 << 20), FilesInMemory: number(1 << 10), Runs: []run.Live{
				{ID: "run_1", Backend: "claude", Client: "bot", Memory: number(5), Pids: number(2)},
				{ID: "run_2", Backend: "claude", Client: "x", Stalled: true, Memory: number(6)},
				{ID: "run_3", Backend: "sh"},
			}}
			s.Pressure.CPUSomeAvg10, s.Pressure.MemorySomeAvg10 = &half, &half
			return s
		},
		Admission: func() admit.Stats {
			return admit.Stats{Budget: 100, Reserved: 60, WaitingBy: map[string]int{"bot": 2, "uid:1": 1, "uid:2": 1}}
		},
		Isolation: func() spawn.Isolation {
			return spawn.Isolation{Memory: "kernel", Pids: "watch", Kill: "kernel", CPU: "kernel", LeakedGroups: 1, RemoveRetries: 4}
		},
	})
	start := time.Unix(1700000000, 0)
	end := start.Add(3 * time.Second)
	r := run.Record{ID: "run_1", Backend: "claude", Client: "bot", Cause: spawn.MemoryLimit, Started: &start, Ended: &end}
	m.RunStarted(r, time.Millisecond)
	m.FirstOutput(r, 20*time.Millisecond)
	o := spawn.Outcome{Teardown: time.Millisecond, Survived: 4}
	o.Receipt.MemoryPeakBytes, o.Receipt.MemoryMaxBytes, o.Receipt.PidsPeak = number(64<<20), number(128<<20), number(7)
	o.Receipt.CPUUserUsec, o.Receipt.CPUSystemUsec, o.Receipt.OOMKills, o.Receipt.PidsRefused = number(2500000), number(500000), number(1), number(9)
	o.Receipt.IOReadBytes, o.Receipt.IOWriteBytes = number(10), number(20)
	m.RunFinished(r, o)
	m.Reaped(2)
	m.HTTPRequest("/health", "GET", 200, time.Millisecond, "req_1")
	m.HTTPRequest("unmatched", "BREW", 405, time.Millisecond, "req_2")
	m.StreamOpened()
	m.StreamOpened()
	m.StreamClosed(1234)
	m.QueueWait("bot", time.Second)
	m.Refused("uid:7", "queue_full")
	return m
}

func exposition(t *testing.T, m *Metrics, accept string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/metrics", nil)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	m.Handler().ServeHTTP(rec, req)
	body, err := io.ReadAll(rec.Body)
	if err != nil || rec.Code != 200 {
		t.Fatalf("%d %v", rec.Code, err)
	}
	return string(body)
}

// The whole exposition of our own metrics: names, types, help, labels; values
// of those that are not times.
func TestGolden(t *testing.T) {
	var kept []string
	for _, line := range strings.Split(exposition(t, exercised(t), ""), "\n") {
		if !strings.Contains(line, "penstock_") {
			continue
		}
		if strings.HasPrefix(line, "penstock_build_info") {
			line = "penstock_build_info{commit=\"abc\",goversion=\"*\",version=\"v1\"} 1"
		}
		kept = append(kept, line)
	}
	got := strings.Join(kept, "\n") + "\n"
	golden := filepath.Join("testdata", "exposition.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("exposition (-want +got); rewrite with -update\n%s", diff)
	}
}

// The values that a wrong unit or sign would spoil.
func TestValues(t *testing.T) {
	text := exposition(t, exercised(t), "")
	for _, want := range []string{
		`penstock_run_cpu_seconds_total{backend="claude",mode="user"} 2.5`,
		`penstock_run_memory_peak_ratio_sum{backend="claude"} 0.5`,
		`penstock_run_duration_seconds_sum{backend="claude",cause="memory_limit"} 3`,
		`penstock_queue_waiting{client="bot"} 2`,
		`penstock_queue_waiting{client="other"} 2`,
		`penstock_queue_waiting{client="anonymous"} 0`,
		`penstock_admission_refused_total{client="other",reason="queue_full"} 1`,
		`penstock_http_requests_total{code="405",method="other",route="unmatched"} 1`,
		`penstock_processes_reaped_total{reason="run_end"} 4`,
		`penstock_processes_reaped_total{reason="boot"} 2`,
		`penstock_cgroup_cpu_pressure_ratio 0.5`,
		`penstock_runs_active{backend="claude"} 2`,
		`penstock_runs_stalled{backend="claude"} 1`,
		`penstock_cgroup_memory_bytes{backend="claude"} 11`,
		`penstock_streams_open 1`,
		"process_resident_memory_bytes ",
		"go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	// What the host does not tell is absent, not zero.
	if strings.Contains(text, `penstock_cgroup_memory_bytes{backend="sh"}`) {
		t.Error("memory nobody measured is shown")
	}
}

// Where nothing counts swapped, killed or read, nothing is said about it.
func TestWhatIsNotCountedHasNoSeries(t *testing.T) {
	m := New(Options{})
	m.RunFinished(run.Record{ID: "run_1", Backend: "claude", Cause: spawn.Completed}, spawn.Outcome{Receipt: spawn.Receipt{CPUUserUsec: number(1)}})
	text := exposition(t, m, "")
	for _, name := range []string{"penstock_runs_oom_kills_total", "penstock_runs_pids_refused_total", "penstock_run_io_bytes_total", "penstock_run_memory_peak_bytes", "penstock_run_pids_peak", `penstock_run_cpu_seconds_total{backend="claude",mode="system"}`} {
		if strings.Contains(text, "\n"+name) {
			t.Errorf("%s is shown, and nobody told it", name)
		}
	}
	if !strings.Contains(text, `penstock_run_cpu_seconds_total{backend="claude",mode="user"} 1e-06`) {
		t.Error("what was told is missing")
	}
}

func TestRunIDIsAnExemplarOnly(t *testing.T) {
	m := exercised(t)
	if text := exposition(t, m, ""); strings.Contains(text, "run_1") {
		t.Error("a run id is a label")
	}
	if text := exposition(t, m, "application/openmetrics-text"); !strings.Contains(text, `# {run_id="run_1"}`) || !strings.HasSuffix(text, "# EOF\n") {
		t.Error("no exemplar in OpenMetrics")
	}
}

// A long id must not make the library panic or drop the observation.
func TestLongExemplar(t *testing.T) {
	m := New(Options{})
	m.HTTPRequest("/", "GET", 200, time.Second, strings.Repeat("x", 128))
	if !strings.Contains(exposition(t, m, ""), `penstock_http_request_duration_seconds_count{code="200",method="GET",route="/"} 1`) {
		t.Error("not counted")
	}
}

func TestPromtool(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool on this machine: it is in Debian's package prometheus")
	}
	cmd := exec.Command(path, "check", "metrics")
	cmd.Stdin = strings.NewReader(exposition(t, exercised(t), ""))
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	// The Go collector's own names are not ours to mend.
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" || strings.HasPrefix(l, "go_") })
	if len(lines) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, fmt.Sprint(strings.Join(lines, "\n")))
	}
}
