package health

import (
	"testing"
	"time"

	"penstock/admit"
	"penstock/run"
)

func TestStuckSlots_TooLong(t *testing.T) {
	at := time.Now()
	j := stuckSlots{patience: time.Minute}
	for i, step := range []struct {
		slots bool
		after time.Duration
		want  bool
	}{
		{true, 0, false},
		{true, time.Minute, false},
		{true, time.Minute + time.Second, true},
		{false, time.Minute + 2*time.Second, false},
		{true, 2 * time.Minute, false}, // another one
		{true, 3*time.Minute + time.Second, true},
	} {
		if got := j.tooLong(step.slots, at.Add(step.after)); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestFacts_Wedged(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name         string
		f            Facts
		stuck, slots bool
	}{
		{"all well", Facts{Now: now, Live: run.Snapshot{Heartbeat: now}, Queue: admit.Stats{Running: 2}}, false, false},
		{"all stalled, none waits", Facts{Now: now, Live: run.Snapshot{Heartbeat: now, Stalled: 2}, Queue: admit.Stats{Running: 2}}, false, false},
		{"one of two stalled", Facts{Now: now, Live: run.Snapshot{Heartbeat: now, Stalled: 1}, Queue: admit.Stats{Running: 2, Waiting: 1}}, false, false},
		{"all stalled", Facts{Now: now, Live: run.Snapshot{Heartbeat: now, Stalled: 2}, Queue: admit.Stats{Running: 2, Waiting: 1}}, false, true},
		{"no heartbeat", Facts{Now: now, Live: run.Snapshot{Heartbeat: now.Add(-heartbeatMax - time.Second)}}, true, false},
		{"not begun", Facts{Now: now}, false, false},
	} {
		if row.f.dispatcherStuck() != row.stuck || row.f.slotsStuck() != row.slots || row.f.Wedged() != (row.stuck || row.slots) {
			t.Errorf("%s: stuck %v, slots %v, wedged %v", row.name, row.f.dispatcherStuck(), row.f.slotsStuck(), row.f.Wedged())
		}
	}
}
