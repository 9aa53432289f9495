package health

import (
	"strings"
	"testing"
	"time"

	"penstock/admit"
	"penstock/run"
	"penstock/spawn"
)

func TestFacts_Status(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for _, row := range []struct {
		name    string
		f       Facts
		status  string
		refuses bool
	}{
		{"idle", Facts{}, "ok", false},
		{"busy", Facts{Queue: admit.Stats{Running: 1}}, "busy", false},
		{"full and waiting", Facts{Queue: admit.Stats{Running: 2, Waiting: 9}}, "busy", false},
		{"draining wins", Facts{Draining: true, Queue: admit.Stats{Running: 1, Waiting: 1}, Live: run.Snapshot{Stalled: 1}}, "draining", true},
		{"one of two stalls", Facts{Queue: admit.Stats{Running: 2, Waiting: 1}, Live: run.Snapshot{Stalled: 1}}, "busy", false},
		{"all stall, none waits", Facts{Queue: admit.Stats{Running: 2}, Live: run.Snapshot{Stalled: 2}}, "busy", false},
		{"all stall while others wait", Facts{Queue: admit.Stats{Running: 2, Waiting: 1}, Live: run.Snapshot{Stalled: 2}}, "wedged", true},
		{"fresh heartbeat", Facts{Live: run.Snapshot{Heartbeat: now.Add(-5 * time.Second)}}, "ok", false},
		{"heartbeat missed", Facts{Live: run.Snapshot{Heartbeat: now.Add(-time.Minute)}}, "wedged", true},
		{"a disk that takes nothing", Facts{Room: &run.Room{Broken: "read-only file system"}}, "ok", true},
		{"no groups", Facts{Isolation: spawn.Isolation{SelfTest: "failed: clone3: no"}}, "ok", true},
	} {
		row.f.Now = now
		if got := row.f.status(); got != row.status || (row.f.NotReady() != "") != row.refuses {
			t.Errorf("%s: %s, refuses %q; want %s, %v", row.name, got, row.f.NotReady(), row.status, row.refuses)
		}
	}
}

// What a run can reach is told in words, and costs no readiness.
func TestFacts_Degraded_Reachable(t *testing.T) {
	f := Facts{Isolation: spawn.Isolation{Reachable: []string{"/run/user/1000/bus", "/run/docker.sock"}}}
	got := f.Degraded()
	if len(got) != 1 || !strings.Contains(got[0], "can reach 2 of what isolation.hide names") || strings.Contains(got[0], "/") {
		t.Errorf("degraded: %q", got)
	}
	if f.NotReady() != "" || f.status() != "ok" {
		t.Errorf("refuses %q, status %s", f.NotReady(), f.status())
	}
}

func TestFacts_FilesLeft(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for _, row := range []struct {
		name       string
		queue      admit.Stats
		told       bool
		ready      bool
		files, all *uint64
		runs       []run.Live
		left       int64
		known      bool
	}{
		{"a good part", admit.Stats{Budget: 1 << 30, Outside: 200 << 20}, true, true, n(200 << 20), n(210 << 20), nil, 200 << 20, true},
		{"all of it", admit.Stats{Budget: 1 << 30, Outside: 900 << 20, Exhausted: true, OutsideAt: "/dev/shm: 900 MiB"}, true, false, n(900 << 20), n(900 << 20), nil, 900 << 20, true},
		{"little", admit.Stats{Budget: 1 << 30, Outside: 1 << 20}, false, true, n(1 << 20), n(9 << 20), nil, 1 << 20, true},
		{"a live run's own", admit.Stats{Budget: 1 << 30}, false, true, n(200 << 20), n(300 << 20), []run.Live{{Memory: n(300 << 20)}}, 0, true},
		{"a new run's, perhaps", admit.Stats{Budget: 1 << 30}, false, true, n(200 << 20), n(300 << 20), []run.Live{{}}, 0, false},
		{"unknown", admit.Stats{Budget: 1 << 30}, false, true, nil, nil, nil, 0, false},
		{"no budget", admit.Stats{Outside: 200 << 20}, false, true, n(200 << 20), n(200 << 20), nil, 200 << 20, true},
	} {
		f := Facts{Live: run.Snapshot{FilesInMemory: row.files, Runs: row.runs}, Queue: row.queue, Isolation: spawn.Isolation{SelfTest: "passed"}}
		f.Live.Pressure.MemoryBytes = row.all
		if got := heldByFiles(f.Queue); (len(got) > 0) != row.told {
			t.Errorf("%s: %v", row.name, got)
		}
		if why := f.NotReady(); (why == "") != row.ready || !row.ready && !strings.Contains(why, "900 MiB of the budget of 1 GiB are files that finished runs left in memory file systems (/dev/shm: 900 MiB)") {
			t.Errorf("%s: not ready for %q", row.name, why)
		}
		if left, known := f.FilesLeft(); left != row.left || known != row.known {
			t.Errorf("%s: %d left, known %v", row.name, left, known)
		}
	}
}
