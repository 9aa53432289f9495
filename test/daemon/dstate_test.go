package daemon

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/internal/disktest"
)

// A process in state D outlives every kill. Its run is told as ended, its slot
// is not given away, everybody is told that its group is still there; once the
// disk answers again the group goes by itself. A stop beside one is bounded.
func TestProcessNoSignalReaches(t *testing.T) {
	frozen := disktest.New(t)
	d := Start(t, Options{Config: fmt.Sprintf(`drain_timeout = "1s"
%s
[budget]
max_runs = 1
[backends.stuck]
kind = "exec"
command = ["/bin/sh", "-c", "cat >/dev/null; echo up; echo x >%s/file; echo wrote"]
`, small, frozen.Dir)})
	ask := func(timeout int, stream bool) *Answer {
		a, err := d.Chat(bounded(t, 40*time.Second), Body("stuck", "go", map[string]any{"timeout_ms": timeout, "stream": stream}), nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	leaked := func(want float64) error {
		h, err := d.Health()
		if err != nil {
			return err
		}
		isolation, queue := h["isolation"].(map[string]any), h["queue"].(map[string]any)
		if isolation["leaked_groups"] != want || queue["running"] != want || d.Metric("penstock_groups_leaked") != want {
			return fmt.Errorf("leaked groups %v, running %v, metric %v, want %v", isolation["leaked_groups"], queue["running"], d.Metric("penstock_groups_leaked"), want)
		}
		if told := strings.Contains(fmt.Sprint(h["degraded"]), "leaked"); told != (want > 0) {
			return fmt.Errorf("degraded: %v", h["degraded"])
		}
		return nil
	}

	frozen.Freeze()
	a := ask(1500, false)
	if a.Code() != "timeout" || a.Status != http.StatusBadRequest || a.Error.Receipt == nil {
		t.Errorf("status %d, error %+v, want 400 timeout with a receipt", a.Status, a.Error)
	}
	if err := Eventually(2*time.Second, func() error { return leaked(1) }); err != nil {
		t.Error(err)
	}
	beside, err := d.Chat(bounded(t, 20*time.Second), Body("demo", "beside", map[string]any{"timeout_ms": 500}), nil)
	if err != nil || beside.Code() != "queue_timeout" {
		t.Errorf("a second run beside the slot that is held: %+v, %v", beside, err)
	}
	frozen.Thaw()
	if err := Eventually(5*time.Second, func() error { return leaked(0) }); err != nil {
		t.Error(err)
	}
	again, err := d.Chat(bounded(t, 20*time.Second), Body("demo", "again", nil), nil)
	if err != nil || again.Text == "" {
		t.Errorf("after the thaw: %+v, %v", again, err)
	}

	frozen.Freeze()
	answer := make(chan *Answer, 1)
	go func() { answer <- ask(60_000, true) }()
	if err := Eventually(10*time.Second, func() error { return anyStuck(d.Pids("")) }); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_ = d.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.Exited():
	case <-time.After(60 * time.Second):
		t.Fatalf("still there 60 s after SIGTERM\n%s", d.Log())
	}
	if took := time.Since(begun); took > 45*time.Second {
		t.Errorf("stop took %v", took)
	}
	if a := <-answer; a.Code() != "shutting_down" || !a.Done {
		t.Errorf("the client heard %+v", a)
	}
	if d.ExitCode() != 1 || !strings.Contains(d.Log(), `"processes_left":1`) {
		t.Errorf("exit status %d, want 1 and the log to tell of the process\n%s", d.ExitCode(), d.Log())
	}
	t.Logf("stop beside it took %v", time.Since(begun))
	frozen.Thaw()
	next := d.Restart(t)
	if err := next.WaitEmpty(time.Second); err != nil {
		t.Error(err)
	}
}

func anyStuck(pids []int) error {
	for _, pid := range pids {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(text), ") D ") {
			return nil
		}
	}
	return fmt.Errorf("none of %v is in state D", pids)
}
