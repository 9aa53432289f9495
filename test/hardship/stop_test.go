package hardship

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
)

// The daemon doesn't get the processor for a second, again and again, with every
// slot busy and others waiting: all goes on as if nothing had been.
func TestDaemonStandsStill(t *testing.T) {
	d := start(t, "", "[backends.demo.limits]\nstall_timeout = \"3s\"\n")
	words := strings.TrimSpace(strings.Repeat("word ", 60))
	var calls []*call
	for range 2 * slots { // half of them wait
		calls = append(calls, ask(t, d, "/delay 100ms "+words, map[string]any{"timeout_ms": 120_000}))
	}
	queue(t, d, slots, slots)
	short := ask(t, d, "never", map[string]any{"timeout_ms": 500}) // in the queue, and late when it wakes
	for range 3 {
		stand(t, d, time.Second)
		begun := time.Now()
		status, h, err := d.Get("/health")
		if err != nil || status != http.StatusOK || h["status"] != "busy" {
			t.Errorf("health after a stop: %v, status %d, %v", err, status, h["status"])
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("health took %v", took)
		}
		if children, _ := h["children"].(map[string]any); children["stalled"] != 0.0 {
			t.Errorf("%v runs are told as stalled", children["stalled"])
		}
		time.Sleep(500 * time.Millisecond)
	}
	if a := short.wait(t); a.Code() != "queue_timeout" {
		t.Errorf("late in the queue: told %+v", a)
	}
	stand(t, d, 4*time.Second) // longer than stall_timeout
	for _, c := range calls {
		c.completed(t, words)
	}
	recovered(t, d)
}

// stand stops the daemon for so long.
func stand(t *testing.T, d *daemon.Daemon, how time.Duration) {
	t.Helper()
	if err := d.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Cmd.Process.Signal(syscall.SIGCONT) }()
	if err := daemon.Eventually(patience, func() error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.Cmd.Process.Pid))
		if err == nil && !strings.Contains(string(text), ") T ") {
			err = fmt.Errorf("it goes on")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(how)
}
