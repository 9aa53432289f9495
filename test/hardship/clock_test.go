package hardship

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The wall clock is set back an hour and forward an hour while runs live and
// wait: deadlines, waits and stalls take as long as they would have.
func TestClockIsSet(t *testing.T) {
	lab(t, "the clock must be set")
	for _, jump := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(fmt.Sprint(jump), func(t *testing.T) {
			d := start(t, "", "[queue]\nmax_wait = \"6s\"\n[backends.silent]\nkind = \"exec\"\ncommand = [\"/bin/sleep\", \"60\"]\n[backends.silent.limits]\nstall_timeout = \"4s\"\n")
			earlier := ask(t, d, "earlier", nil)
			earlier.completed(t, "earlier")

			// Runs for all slots, then two that wait.
			words := strings.TrimSpace(strings.Repeat("word ", 40))
			talks := ask(t, d, "/delay 200ms "+words, nil)
			quiet := ask(t, d, "/sleep 8 done", map[string]any{"timeout_ms": 60_000})
			bounded := ask(t, d, "/sleep 60", map[string]any{"timeout_ms": 5000})
			still := ask(t, d, "x", map[string]any{"model": "silent"})
			rest := []*call{ask(t, d, "/sleep 15 done", nil), ask(t, d, "/sleep 15 done", nil)}
			queue(t, d, slots, 0)
			hurried := ask(t, d, "never", map[string]any{"timeout_ms": 2500})
			patient := ask(t, d, "at last", nil)
			queue(t, d, slots, 2)
			set(t, jump)

			for _, row := range []struct {
				name        string
				call        *call
				code        string
				least, most time.Duration
			}{
				{"a wait with a deadline", hurried, "queue_timeout", 2500 * time.Millisecond, 7 * time.Second},
				{"a deadline", bounded, "timeout", 5 * time.Second, 12 * time.Second},
				{"a stall", still, "stalled", 4 * time.Second, 20 * time.Second},
			} {
				if a := row.call.wait(t); a.Code() != row.code {
					t.Errorf("%s: told %+v, want %s", row.name, a.Error, row.code)
				}
				if row.call.took < row.least || row.call.took > row.most {
					t.Errorf("%s ended after %v, want %v to %v", row.name, row.call.took, row.least, row.most)
				}
				t.Logf("%s: %s after %v", row.name, row.code, row.call.took)
			}
			patient.completed(t, "at last")
			talks.completed(t, words)
			quiet.completed(t, "done")
			for _, c := range rest {
				c.completed(t, "done")
			}
			h, err := d.Health()
			if up, ok := h["uptime_seconds"].(float64); err != nil || !ok || up < 5 || up > 120 {
				t.Errorf("uptime %v, %v", h["uptime_seconds"], err)
			}
			// What has ended before is kept as long as it would have been.
			if _, run, err := d.Get("/v1/runs/" + earlier.answer.Run); err != nil || run["cause"] != "completed" {
				t.Errorf("the run before the jump: %v, %v", run, err)
			}
			recovered(t, d)
		})
	}
}

// set moves the wall clock until the test's end.
func set(t *testing.T, by time.Duration) {
	t.Helper()
	move := func(by time.Duration) {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		then := unix.NsecToTimespec(now.Nano() + by.Nanoseconds())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &then); err != nil {
			t.Fatalf("set the clock by %v: %v", by, err)
		}
	}
	before := time.Now()
	move(by)
	if moved := time.Now().Round(0).Sub(before.Round(0)); moved < by-time.Minute || moved > by+time.Minute {
		t.Fatalf("the clock moved by %v, not %v", moved, by)
	}
	t.Cleanup(func() { move(-by) })
}
