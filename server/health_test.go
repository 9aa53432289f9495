package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock/admit"
	"penstock/run"
	"penstock/sandbox"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spawn"
)

func TestStatus(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for _, row := range []struct {
		name    string
		f       facts
		status  string
		refuses bool
	}{
		{"idle", facts{}, "ok", false},
		{"busy", facts{queue: admit.Stats{Running: 1}}, "busy", false},
		{"full and waiting", facts{queue: admit.Stats{Running: 2, Waiting: 9}}, "busy", false},
		{"draining wins", facts{draining: true, queue: admit.Stats{Running: 1, Waiting: 1}, live: run.Snapshot{Stalled: 1}}, "draining", true},
		{"one of two stalls", facts{queue: admit.Stats{Running: 2, Waiting: 1}, live: run.Snapshot{Stalled: 1}}, "busy", false},
		{"all stall, nobody waits", facts{queue: admit.Stats{Running: 2}, live: run.Snapshot{Stalled: 2}}, "busy", false},
		{"all stall while others wait", facts{queue: admit.Stats{Running: 2, Waiting: 1}, live: run.Snapshot{Stalled: 2}}, "wedged", true},
		{"fresh heartbeat", facts{live: run.Snapshot{Heartbeat: now.Add(-5 * time.Second)}}, "ok", false},
		{"heartbeat missed", facts{live: run.Snapshot{Heartbeat: now.Add(-time.Minute)}}, "wedged", true},
		{"no groups", facts{isolation: spawn.Isolation{SelfTest: "failed: clone3: no"}}, "ok", true},
	} {
		row.f.now = now
		if got := row.f.status(); got != row.status || (row.f.notReady() != "") != row.refuses {
			t.Errorf("%s: %s, refuses %q; want %s, %v", row.name, got, row.f.notReady(), row.status, row.refuses)
		}
	}
}

// What a run can reach is told in words, and costs no readiness.
func TestReachableDoorsDegrade(t *testing.T) {
	f := facts{isolation: spawn.Isolation{Reachable: []string{"/run/user/1000/bus", "/run/docker.sock"}}}
	got := (&daemon{}).degraded(f)
	if len(got) != 1 || !strings.Contains(got[0], "can reach 2 of what isolation.hide names") || strings.Contains(got[0], "/") {
		t.Errorf("degraded: %q", got)
	}
	if f.notReady() != "" || f.status() != "ok" {
		t.Errorf("refuses %q, status %s", f.notReady(), f.status())
	}
}

// Where runs could write to the daemon's records a durable run is refused, as an
// error of the request's, and told in words.
func TestDurableRunsAreRefused(t *testing.T) {
	why := errors.New("/home/u/.local/state: writable")
	d, err := open(t.Context(), testConfig(t), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Skipf("no daemon can be opened here: %v", err)
	}
	defer func() {
		if err := d.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	d.notDurable = why
	if got := d.degraded(facts{isolation: spawn.Isolation{SelfTest: "passed"}}); len(got) != 1 || !strings.Contains(got[0], "durable runs are refused") || strings.Contains(got[0], "/") {
		t.Errorf("degraded: %q", got)
	}
	q, err := openai.Decode([]byte(`{"model":"x","messages":[{"role":"user","content":"hi"}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.job(t.Context(), nil, q, newJob("mine", "c", true), time.Now())
	if e := web.AsError(err); e.Status != http.StatusBadRequest || e.Code != "not_durable" || e.Param != "X-Run-Id" || strings.Contains(e.Message, "/home") {
		t.Errorf("told %+v", e)
	}
	if e := notStarted("mine", fmt.Errorf("run mine: %w: %w", run.ErrNotDurable, why)); e.Code != "not_durable" {
		t.Errorf("told %+v", e)
	}
}

// All runs as other users need no wall: the permission bits are one.
func TestUnwalled(t *testing.T) {
	own, other := &configuredBackend{}, &configuredBackend{user: &run.User{UID: 54321}}
	open := spawn.Isolation{Store: sandbox.Unprotected, StoreOpen: errors.New("open")}
	for _, row := range []struct {
		agents backends
		is     spawn.Isolation
		fails  bool
	}{
		{backends{"a": own}, spawn.Isolation{Store: "landlock"}, false},
		{backends{"a": own, "b": other}, open, true},
		{backends{"b": other}, open, false},
	} {
		if err := row.agents.recordsExposed(row.is); (err != nil) != row.fails {
			t.Errorf("%+v: %v", row, err)
		}
	}
}

func TestFilesThatHoldTheBudget(t *testing.T) {
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
		{"a newborn's, perhaps", admit.Stats{Budget: 1 << 30}, false, true, n(200 << 20), n(300 << 20), []run.Live{{}}, 0, false},
		{"unknown", admit.Stats{Budget: 1 << 30}, false, true, nil, nil, nil, 0, false},
		{"no budget", admit.Stats{Outside: 200 << 20}, false, true, n(200 << 20), n(200 << 20), nil, 200 << 20, true},
	} {
		f := facts{live: run.Snapshot{FilesInMemory: row.files, Runs: row.runs}, queue: row.queue, isolation: spawn.Isolation{SelfTest: "passed"}}
		f.live.Pressure.MemoryBytes = row.all
		if got := heldByFiles(f.queue); (len(got) > 0) != row.told {
			t.Errorf("%s: %v", row.name, got)
		}
		if why := f.notReady(); (why == "") != row.ready || !row.ready && !strings.Contains(why, "900 MiB of the budget of 1 GiB are files that finished runs left in memory file systems (/dev/shm: 900 MiB)") {
			t.Errorf("%s: not ready for %q", row.name, why)
		}
		if left, known := f.filesLeft(); left != row.left || known != row.known {
			t.Errorf("%s: %d left, known %v", row.name, left, known)
		}
	}
}
