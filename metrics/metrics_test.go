package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/admit"
	"penstock/outcome"
	"penstock/run"
	"penstock/spawn"
)

func number(n uint64) *uint64 { return &n }

var begun = time.Unix(1700000000, 0)

// state is what the gauges of exercised show.
type state struct {
	snapshot  run.Snapshot
	admission admit.Stats
	isolation spawn.Isolation
	health    Health
}

func busy() *state {
	half := 50.0
	s := &state{
		snapshot: run.Snapshot{
			Heartbeat: begun.Add(time.Minute), Processes: 3, Memory: number(1 << 20), FilesInMemory: number(1 << 10), DyingGroups: number(2),
			Runs: []run.Live{
				{ID: "run_1", Backend: "claude", Client: "bot", Memory: number(5), Pids: number(2)},
				{ID: "run_2", Backend: "claude", Client: "x", Stalled: true, Memory: number(6)},
				{ID: "run_3", Backend: "sh"},
			},
		},
		admission: admit.Stats{
			Running: 3, MaxRuns: 8, Waiting: 4, OldestWait: 2 * time.Second, Budget: 100, Reserved: 60,
			WaitingBy: map[string]int{"bot": 2, "uid:1": 1, "uid:2": 1},
		},
		isolation: spawn.Isolation{Memory: "kernel", Pids: "watch", Kill: "kernel", CPU: "kernel", LeakedGroups: 1, RemoveRetries: 4},
		health:    Health{Ready: true},
	}
	s.snapshot.Pressure.CPUSomeAvg10, s.snapshot.Pressure.MemorySomeAvg10 = &half, &half
	return s
}

// watched is a registry whose gauges show s, a second after its last look.
func watched(s *state) *Metrics {
	m := New(Options{Version: "v1", Commit: "abc", Clients: []string{"bot", "anonymous"}, Backends: []string{"claude", "idle", "sh"}})
	m.now = func() time.Time { return begun.Add(time.Minute + time.Second) }
	m.Watch(Sources{
		Snapshot:  func() run.Snapshot { return s.snapshot },
		Admission: func() admit.Stats { return s.admission },
		Isolation: func() spawn.Isolation { return s.isolation },
		Health:    func() Health { return s.health },
	})
	return m
}

// exercised is a registry in which everything has happened once.
func exercised() *Metrics {
	m := watched(busy())
	end := begun.Add(3 * time.Second)
	r := run.Record{ID: "run_1", Backend: "claude", Client: "bot", Cause: outcome.MemoryLimit, Started: &begun, Ended: &end}
	m.RunStarted(r, time.Millisecond)
	m.FirstOutput(r, 20*time.Millisecond)
	o := outcome.Outcome{Started: begun, Teardown: time.Millisecond, Survived: 4}
	o.Receipt.MemoryPeakBytes, o.Receipt.MemoryMaxBytes, o.Receipt.PidsPeak = number(64<<20), number(128<<20), number(7)
	o.Receipt.CPUUserUsec, o.Receipt.CPUSystemUsec, o.Receipt.OOMKills, o.Receipt.PidsRefused = number(2500000), number(500000), number(1), number(9)
	o.Receipt.MemoryPressureUsec = number(250000)
	o.Receipt.IOReadBytes, o.Receipt.IOWriteBytes = number(10), number(20)
	m.RunFinished(r, o)
	m.StartFailed("sh", outcome.CLIMissing)
	m.Reaped(2)
	m.HTTPRequest("/health", "GET", 200, time.Millisecond, "req_1")
	m.HTTPRequest("unmatched", "BREW", 405, time.Millisecond, "req_2")
	m.StreamOpened()
	m.StreamOpened()
	m.StreamWrote(1000)
	m.StreamWrote(234)
	m.StreamClosed()
	m.QueueWait("bot", time.Second, "run_1")
	m.Refused("uid:7", "queue_full")
	return m
}

func scrape(t *testing.T, m *Metrics, accept string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/metrics", nil)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	m.Handler().ServeHTTP(rec, req)
	if rec.Code != 200 {
		t.Fatalf("a scrape is answered with %d: %s", rec.Code, rec.Body)
	}
	return rec
}

func exposition(t *testing.T, m *Metrics, accept string) string {
	t.Helper()
	body, err := io.ReadAll(scrape(t, m, accept).Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// The values that a wrong unit or sign would spoil.
func TestValues(t *testing.T) {
	text := exposition(t, exercised(), "")
	for _, want := range []string{
		`penstock_run_cpu_seconds_total{backend="claude",mode="user"} 2.5`,
		`penstock_run_memory_peak_ratio_sum{backend="claude"} 0.5`,
		`penstock_run_duration_seconds_sum{backend="claude",cause="memory_limit"} 3`,
		`penstock_runs_finished_total{backend="claude",cause="memory_limit",client="bot"} 1`,
		`penstock_run_starts_failed_total{backend="sh",cause="cli_missing"} 1`,
		`penstock_run_starts_failed_total{backend="idle",cause="start_failed"} 0`,
		`penstock_queue_waiting{client="bot"} 2`,
		`penstock_queue_waiting{client="other"} 2`,
		`penstock_queue_waiting{client="anonymous"} 0`,
		`penstock_queue_oldest_wait_seconds 2`,
		`penstock_admission_refused_total{client="other",reason="queue_full"} 1`,
		`penstock_http_requests_total{code="405",method="other",route="unmatched"} 1`,
		`penstock_processes_reaped_total{reason="run_end"} 4`,
		`penstock_processes_reaped_total{reason="boot"} 2`,
		`penstock_cgroup_cpu_pressure_ratio 0.5`,
		`penstock_runs_active{backend="claude"} 2`,
		`penstock_runs_stalled{backend="claude"} 1`,
		`penstock_cgroup_memory_bytes{backend="claude"} 11`,
		`penstock_sample_timestamp_seconds 1.70000006e+09`,
		`penstock_stream_bytes_total 1234`,
		`penstock_streams_open 1`,
		`penstock_ready 1`,
		`penstock_wedged 0`,
		"process_resident_memory_bytes ",
		"process_open_fds ",
		"process_cpu_seconds_total ",
		"go_goroutines ",
		`promhttp_metric_handler_errors_total{cause="gathering"} 0`,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
}
