package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const small = `
[limits]
memory_max = "256MiB"
pids_max = 128
timeout = "60s"
grace = "500ms"
`

func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// Every shape of tree the demo can grow: the answer comes, nothing hangs, and
// nothing is left once the answer has ended.
func TestNothingIsLeft(t *testing.T) {
	d := Start(t, Options{Config: small})
	for _, prompt := range []string{
		"plain words",
		"/daemonize after the daemon",
		"/fork 20 after the fork",
		"/ignoreterm still here",
		"/holdstdout someone holds it",
		"/outlive the leader",
		"/daemonize /fork 10 /ignoreterm /holdstdout all at once",
	} {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/stream=%v", strings.ReplaceAll(prompt, "/", "_"), stream), func(t *testing.T) {
				a, err := d.Chat(bounded(t, 20*time.Second), Body("demo", prompt, map[string]any{"stream": stream}), nil)
				if err != nil {
					t.Fatal(err)
				}
				if a.Error != nil || a.Finish != "stop" || (stream && !a.Done) {
					t.Fatalf("error %+v, finish %q, done %v", a.Error, a.Finish, a.Done)
				}
				for _, word := range strings.Fields(prompt) {
					if !strings.HasPrefix(word, "/") && !isNumber(word) && !strings.Contains(a.Text, word) {
						t.Errorf("answer %q lacks %q", a.Text, word)
					}
				}
				// What lives longer than it takes to kill it is left: none of these ends by itself.
				if err := d.WaitEmpty(5 * time.Second); err != nil {
					t.Errorf("after the finish: %v", err)
				}
				t.Logf("gone %v after the finish", time.Since(a.Finished))
			})
		}
	}
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

func TestFailureIsNeverSuccess(t *testing.T) {
	d := Start(t, Options{Config: small})
	for _, row := range []struct{ prompt, code, message string }{
		{"/exit 3", "cli_error", "3"},
		{"/stderr sorrow /exit 4", "cli_error", "sorrow"},
		{"some text /exit 5", "cli_error", "5"},
		{"/kill", "killed", ""},
		{"partial text /kill", "killed", ""},
	} {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/stream=%v", strings.ReplaceAll(row.prompt, "/", "_"), stream), func(t *testing.T) {
				a, err := d.Chat(bounded(t, 20*time.Second), Body("demo", row.prompt, map[string]any{"stream": stream}), nil)
				if err != nil {
					t.Fatal(err)
				}
				if a.Code() != row.code || a.Finish != "" || !strings.Contains(a.Error.Message, row.message) {
					t.Fatalf("code %q (want %q), finish %q, error %+v", a.Code(), row.code, a.Finish, a.Error)
				}
				if stream && !a.Done {
					t.Error("no [DONE]")
				}
				if !stream && (a.Status != 400 || a.Header.Get("x-should-retry") != "false") {
					t.Errorf("status %d, x-should-retry %q: want 400, false", a.Status, a.Header.Get("x-should-retry"))
				}
			})
		}
	}
}

// A SIGKILL from outside is told as killed, with and without text before it.
func TestKilledFromOutside(t *testing.T) {
	d := Start(t, Options{Config: small})
	for _, stream := range []bool{true, false} {
		for _, prompt := range []string{"/sleep 30", "first words then /sleep 30"} {
			t.Run(fmt.Sprintf("%s/stream=%v", strings.ReplaceAll(prompt, "/", "_"), stream), func(t *testing.T) {
				go func() {
					_ = Eventually(10*time.Second, func() error {
						pids := d.Pids("")
						if len(pids) == 0 {
							return fmt.Errorf("no process yet")
						}
						time.Sleep(300 * time.Millisecond) // let the words out
						return syscall.Kill(pids[0], syscall.SIGKILL)
					})
				}()
				a, err := d.Chat(bounded(t, 25*time.Second), Body("demo", prompt, map[string]any{"stream": stream}), nil)
				if err != nil {
					t.Fatal(err)
				}
				if a.Code() != "killed" || a.Finish != "" {
					t.Fatalf("code %q finish %q text %q", a.Code(), a.Finish, a.Text)
				}
				if err := d.WaitEmpty(time.Second); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// The client leaves in each phase; its tree is gone within a second and the
// end is counted under the right cause.
func TestClientGone(t *testing.T) {
	d := Start(t, Options{Config: small + "\n[budget]\nmax_runs = 1\n"})
	gone := func() float64 { return d.Metric("penstock_runs_finished_total", `cause="client_gone"`) }

	t.Run("mid-stream", func(t *testing.T) {
		before := gone()
		ctx, cancel := context.WithCancel(bounded(t, 20*time.Second))
		_, err := d.Chat(ctx, Body("demo", "word /daemonize /sleep 30", map[string]any{"stream": true}), func(*Answer) { cancel() })
		if err == nil {
			t.Fatal("the stream ended by itself")
		}
		if err := d.WaitEmpty(time.Second); err != nil {
			t.Error(err)
		}
		if err := Eventually(time.Second, func() error { return want(gone(), before+1) }); err != nil {
			t.Error(err)
		}
	})
	t.Run("before the first byte", func(t *testing.T) {
		before := gone()
		ctx, cancel := context.WithCancel(bounded(t, 20*time.Second))
		go func() {
			_ = Eventually(10*time.Second, func() error {
				if len(d.Pids("")) == 0 {
					return fmt.Errorf("not started")
				}
				return nil
			})
			cancel()
		}()
		if _, err := d.Chat(ctx, Body("demo", "/sleep 30", nil), nil); err == nil {
			t.Fatal("answered")
		}
		if err := d.WaitEmpty(time.Second); err != nil {
			t.Error(err)
		}
		if err := Eventually(time.Second, func() error { return want(gone(), before+1) }); err != nil {
			t.Error(err)
		}
	})
	t.Run("while queued", func(t *testing.T) {
		started := d.Metric("penstock_runs_started_total")
		holder, release := context.WithCancel(bounded(t, 30*time.Second))
		go d.Chat(holder, Body("demo", "/sleep 30", nil), nil)
		if err := Eventually(5*time.Second, func() error { return want(float64(len(d.Groups())), 1) }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(bounded(t, 20*time.Second))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = d.Chat(ctx, Body("demo", "never", map[string]any{"stream": true}), nil)
		}()
		if err := Eventually(5*time.Second, func() error { return want(d.Metric("penstock_queue_waiting"), 1) }); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done
		if err := Eventually(time.Second, func() error { return want(d.Metric("penstock_queue_waiting"), 0) }); err != nil {
			t.Error(err)
		}
		release()
		if err := d.WaitEmpty(2 * time.Second); err != nil {
			t.Error(err)
		}
		time.Sleep(200 * time.Millisecond)
		if now := d.Metric("penstock_runs_started_total"); now != started+1 {
			t.Errorf("cancelled while queued, but started: %v runs, want the holder's only", now-started)
		}
	})
}

func want(got, wanted float64) error {
	if got != wanted {
		return fmt.Errorf("%v, want %v", got, wanted)
	}
	return nil
}

func TestDeadlineAndCancel(t *testing.T) {
	d := Start(t, Options{Config: small})
	a, err := d.Chat(bounded(t, 20*time.Second), Body("demo", "/daemonize /sleep 30", map[string]any{"timeout_ms": 700}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Code() != "timeout" || a.Status != 400 {
		t.Errorf("deadline: status %d code %q", a.Status, a.Code())
	}
	if err := d.WaitEmpty(time.Second); err != nil {
		t.Error(err)
	}
	a, err = d.Chat(bounded(t, 20*time.Second), Body("demo", "hold /sleep 30", map[string]any{"stream": true}), func(a *Answer) {
		if a.Deltas == 1 {
			resp, err := Post(d.URL+"/v1/runs/"+a.Run+"/cancel", "{}")
			if err != nil || resp.StatusCode != 202 {
				t.Errorf("cancel: %v %v", resp, err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Code() != "cancelled" || !a.Done {
		t.Errorf("cancel: code %q done %v", a.Code(), a.Done)
	}
	resp, err := Post(d.URL+"/v1/runs/"+a.Run+"/cancel", "{}")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("second cancel: %v %v, want 200", resp, err)
	}
}

func TestOutputLimit(t *testing.T) {
	d := Start(t, Options{Config: small + "output_max = \"1MiB\"\n"})
	a, err := d.Chat(bounded(t, 30*time.Second), Body("demo", "/spew 20MiB", map[string]any{"stream": true}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Code() != "output_limit" || !a.Done {
		t.Errorf("code %q done %v", a.Code(), a.Done)
	}
}

// Law 11 through the whole product: a child that writes its pid elsewhere fails.
func TestEscapeFails(t *testing.T) {
	d := Start(t, Options{Config: small + `
[backends.escape]
kind = "exec"
command = ["/bin/sh", "-c", """cat >/dev/null
for g in $(awk '$3 ~ /cgroup/ {print $2}' /proc/mounts); do
  find $g -name cgroup.procs 2>/dev/null | while read f; do
    if (echo $$ > $f) 2>/dev/null; then echo ESCAPED $f; fi
  done
done
mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo REMOUNTED
echo tried $(grep -c . /proc/self/cgroup) $(grep ^0:: /proc/self/cgroup)"""]
`})
	a, err := d.Chat(bounded(t, 30*time.Second), Body("escape", "go", nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Error != nil || !strings.Contains(a.Text, "tried") {
		t.Fatalf("text %q error %+v", a.Text, a.Error)
	}
	if strings.Contains(a.Text, "ESCAPED") || strings.Contains(a.Text, "REMOUNTED") {
		t.Errorf("escaped: %s", a.Text)
	}
	if !strings.Contains(a.Text, a.Run) {
		t.Errorf("the child was not in its run's group: %s", a.Text)
	}
}

// A second SIGTERM ends at once; either way every waiting client hears why.
func TestShutdown(t *testing.T) {
	for _, forced := range []bool{false, true} {
		t.Run(fmt.Sprintf("forced=%v", forced), func(t *testing.T) {
			bound := "2s"
			if forced {
				bound = "50s"
			}
			d := Start(t, Options{Config: "drain_timeout = \"" + bound + "\"\n" + small + "\n[budget]\nmax_runs = 1\n"})
			root := d.Root()
			answers := make(chan *Answer, 2)
			ask := func() {
				a, err := d.Chat(bounded(t, 40*time.Second), Body("demo", "word /daemonize /sleep 40", map[string]any{"stream": true}), nil)
				if err != nil {
					t.Errorf("stream: %v", err)
				}
				answers <- a
			}
			go ask()
			if err := Eventually(5*time.Second, func() error { return want(float64(len(d.Groups())), 1) }); err != nil {
				t.Fatal(err)
			}
			go ask()
			if err := Eventually(5*time.Second, func() error { return want(d.Metric("penstock_queue_waiting"), 1) }); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			_ = d.Cmd.Process.Signal(syscall.SIGTERM)
			if forced {
				time.Sleep(200 * time.Millisecond)
				_ = d.Cmd.Process.Signal(syscall.SIGTERM)
			}
			select {
			case <-d.Exited():
			case <-time.After(20 * time.Second):
				t.Fatalf("still there after 20 s\n%s", d.Log())
			}
			took := time.Since(begun)
			if forced && took > 5*time.Second {
				t.Errorf("forced end took %v", took)
			}
			for range 2 {
				if a := <-answers; a == nil || a.Code() != "shutting_down" || !a.Done {
					t.Errorf("answer %+v: want shutting_down and [DONE]", a)
				}
			}
			if _, err := os.Stat(filepath.Join(root, "runs")); err == nil {
				t.Errorf("%s/runs is left", root)
			}
			if code := d.ExitCode(); code != 0 {
				t.Errorf("exit status %d\n%s", code, d.Log())
			}
		})
	}
}

// The daemon dies by SIGKILL; the next one finds what it left and ends it.
func TestSweepAfterCrash(t *testing.T) {
	d := Start(t, Options{Config: small})
	go d.Chat(bounded(t, 30*time.Second), Body("demo", "/daemonize /fork 5 /sleep 30", nil), nil)
	if err := Eventually(10*time.Second, func() error {
		if n := len(d.Pids("")); n < 7 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	left := d.Pids("")
	_ = d.Cmd.Process.Kill()
	<-d.Exited()
	again := d.Restart(t)
	for _, pid := range left {
		if alive(pid) {
			t.Errorf("process %d of the crashed daemon is still alive", pid)
		}
	}
	if g := again.Groups(); len(g) != 0 {
		t.Errorf("groups left: %v", g)
	}
	if n := again.Metric("penstock_processes_reaped_total", `reason="boot"`); n < float64(len(left)) {
		t.Errorf("penstock_processes_reaped_total boot = %v, want at least %d", n, len(left))
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
