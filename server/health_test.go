package server

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/admit"
	"penstock/run"
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
		{"no groups", facts{cage: spawn.Isolation{SelfTest: "failed: clone3: no"}}, "ok", true},
	} {
		row.f.now = now
		if got := row.f.status(); got != row.status || (row.f.refuses() != "") != row.refuses {
			t.Errorf("%s: %s, refuses %q; want %s, %v", row.name, got, row.f.refuses(), row.status, row.refuses)
		}
	}
}

// What a run can reach is told in words, and costs no readiness.
func TestReachableDoorsDegrade(t *testing.T) {
	f := facts{cage: spawn.Isolation{Reachable: []string{"/run/user/1000/bus", "/run/docker.sock"}}}
	got := (&daemon{}).degraded(f)
	if len(got) != 1 || !strings.Contains(got[0], "can reach 2 of what isolation.hide names") || strings.Contains(got[0], "/") {
		t.Errorf("degraded: %q", got)
	}
	if f.refuses() != "" || f.status() != "ok" {
		t.Errorf("refuses %q, status %s", f.refuses(), f.status())
	}
}

// slowWriter takes its time for each byte and keeps the deadline it got.
type slowWriter struct {
	*httptest.ResponseRecorder
	late bool
	due  time.Time
}

func (w *slowWriter) SetWriteDeadline(t time.Time) error { w.due = t; return nil }
func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(20 * time.Second * time.Duration(len(p)) / writePiece)
	w.late = w.late || time.Now().After(w.due)
	return w.ResponseRecorder.Write(p)
}

// A reader that is slow but reads is never cut: each piece has its own time.
func TestWriteDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowWriter{ResponseRecorder: httptest.NewRecorder()}
		w := newReply(slow)
		if _, err := w.Write(make([]byte, 5*writePiece)); err != nil {
			t.Fatal(err)
		}
		if slow.late || time.Until(slow.due) > writeStall+time.Second {
			t.Errorf("late %v, deadline in %v", slow.late, time.Until(slow.due))
		}
	})
}

func TestFilesThatHoldTheBudget(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for _, row := range []struct {
		name   string
		files  *uint64
		budget int64
		runs   int
		told   bool
	}{
		{"a good part", n(200 << 20), 1 << 30, 0, true},
		{"little", n(1 << 20), 1 << 30, 0, false},
		{"a live run's own", n(200 << 20), 1 << 30, 1, false},
		{"unknown", nil, 1 << 30, 0, false},
		{"no budget", n(200 << 20), 0, 0, false},
	} {
		f := facts{live: run.Snapshot{FilesInMemory: row.files, Runs: make([]run.Live, row.runs)}, queue: admit.Stats{Budget: row.budget}}
		if got := heldByFiles(f); (len(got) > 0) != row.told || row.told && !strings.Contains(got[0], "200 MiB") {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
