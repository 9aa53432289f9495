package server

import (
	"testing"
	"time"

	"penstock/admit"
	"penstock/run"
)

func TestJamMustLast(t *testing.T) {
	at := time.Now()
	j := stuckSlots{patience: time.Minute}
	for i, step := range []struct {
		jammed bool
		after  time.Duration
		want   bool
	}{
		{true, 0, false},
		{true, time.Minute, false},
		{true, time.Minute + time.Second, true},
		{false, time.Minute + 2*time.Second, false},
		{true, 2 * time.Minute, false}, // another one
		{true, 3*time.Minute + time.Second, true},
	} {
		if got := j.tooLong(step.jammed, at.Add(step.after)); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestWedged(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name          string
		f             facts
		stuck, jammed bool
	}{
		{"all well", facts{now: now, live: run.Snapshot{Heartbeat: now}, queue: admit.Stats{Running: 2}}, false, false},
		{"all stalled, nobody waits", facts{now: now, live: run.Snapshot{Heartbeat: now, Stalled: 2}, queue: admit.Stats{Running: 2}}, false, false},
		{"one of two stalled", facts{now: now, live: run.Snapshot{Heartbeat: now, Stalled: 1}, queue: admit.Stats{Running: 2, Waiting: 1}}, false, false},
		{"all stalled", facts{now: now, live: run.Snapshot{Heartbeat: now, Stalled: 2}, queue: admit.Stats{Running: 2, Waiting: 1}}, false, true},
		{"no heartbeat", facts{now: now, live: run.Snapshot{Heartbeat: now.Add(-heartbeatMax - time.Second)}}, true, false},
		{"not begun", facts{now: now}, false, false},
	} {
		if row.f.dispatcherStuck() != row.stuck || row.f.slotsStuck() != row.jammed || row.f.wedged() != (row.stuck || row.jammed) {
			t.Errorf("%s: stuck %v, jammed %v, wedged %v", row.name, row.f.dispatcherStuck(), row.f.slotsStuck(), row.f.wedged())
		}
	}
}
