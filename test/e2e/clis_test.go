package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
)

const long = 120 * time.Second

// grace is more than a CLI may take to save its session.
const grace = 5 * time.Second

// Each CLI's answer is streamed: in more than a few deltas that are spread over the
// time the model took.
func TestStreamedAnswer(t *testing.T) {
	w := begin(t, "")
	for _, cli := range six() {
		t.Run(cli, func(t *testing.T) {
			a := paced(t, w, cli)
			if a.Receipt == nil {
				t.Error("no receipt")
			}
			if n, _ := a.Usage["completion_tokens"].(float64); n <= 0 {
				t.Errorf("usage %v", a.Usage)
			}
			t.Logf("first text %v, usage %v, receipt %v", a.First, a.Usage, a.Receipt)
		})
	}
}

// paced asks for an answer that the model gives over 1.1 s, and wants its deltas
// as they come. A CLI that a busy machine has held up hands on all of them at once:
// it gets three tries.
func paced(t *testing.T, w *world, cli string) *daemon.Answer {
	t.Helper()
	for try := 1; ; try++ {
		a, err := w.Chat(bounded(t, long), daemon.Body(cli, "SCN=long N=12 DELAY=100 please", map[string]any{
			"stream": true, "stream_options": map[string]any{"include_usage": true},
		}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Deltas >= 4 && a.Spread >= 500*time.Millisecond {
			return a
		}
		if try == 3 {
			t.Fatalf("%d deltas over %v: want real streaming over about 1.1 s", a.Deltas, a.Spread)
		}
	}
}

// A second turn under the same session knows the first.
func TestResume(t *testing.T) {
	w := begin(t, "")
	for _, cli := range six() {
		t.Run(cli, func(t *testing.T) {
			word := "blue-" + cli + "-42"
			session := map[string]any{"session_id": "talk-" + cli, "stream": true}
			first, err := w.Chat(bounded(t, long), daemon.Body(cli, "SCN=text REMEMBER{{"+word+"}}", session), nil)
			if err != nil || first.Error != nil {
				t.Fatalf("first turn: %v %+v", err, first.Error)
			}
			second, err := w.Chat(bounded(t, long), daemon.Body(cli, "SCN=text RECALL", session), nil)
			if err != nil || second.Error != nil {
				t.Fatalf("second turn: %v %+v", err, second.Error)
			}
			if !strings.Contains(second.Text, word) {
				t.Errorf("second turn %q does not know %q", second.Text, word)
			}
			if strings.Contains(second.Text, first.Text) {
				t.Errorf("second turn repeats the first: %q", second.Text)
			}
			if code, _, err := w.Get("/v1/sessions"); err != nil || code != 200 {
				t.Errorf("sessions: %d %v", code, err)
			}
		})
	}
}

// A tool turn whose child leaves its session outlives every one of these CLIs,
// but not the run: 100 ms after the finish chunk nothing is left, or once the CLI has
// saved its session.
func TestToolLeavesNothing(t *testing.T) {
	w := begin(t, "")
	for _, cli := range three() {
		t.Run(cli, func(t *testing.T) {
			mark := fmt.Sprintf("30%d", time.Now().UnixNano()%100000)
			a, err := w.Chat(bounded(t, long), daemon.Body(cli,
				"SCN=tool CMD{{setsid sleep "+mark+" >/dev/null 2>&1 </dev/null & sleep 0.5; echo started}}", map[string]any{"stream": true}), nil)
			if err != nil {
				t.Fatal(err)
			}
			if a.Error != nil || a.Finish != "stop" || !strings.Contains(a.Text, "started") {
				t.Fatalf("text %q finish %q error %+v", a.Text, a.Finish, a.Error)
			}
			time.Sleep(100*time.Millisecond - time.Since(a.Finished))
			if _, rec, err := w.Get("/v1/runs/" + a.Run); err != nil || rec["answered_at"] != nil {
				if err := w.WaitEmpty(grace); err != nil {
					t.Error(err)
				}
			}
			if pids, groups := w.Pids(""), w.Groups(); len(pids) > 0 || len(groups) > 0 {
				t.Errorf("left: processes %v groups %v", pids, groups)
			}
			if left := sleepers(t, mark); len(left) > 0 {
				t.Errorf("sleep %s is still alive: %v", mark, left)
			}
			if _, rec, err := w.Get("/v1/runs/" + a.Run); err != nil || rec["processes_after_leader"] == nil {
				t.Logf("record %v %v", rec, err)
			}
		})
	}
}

func sleepers(t *testing.T, mark string) []string {
	t.Helper()
	var left []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		raw, _ := os.ReadFile(f)
		if string(raw) == "sleep\x00"+mark+"\x00" {
			left = append(left, f)
		}
	}
	return left
}

// SIGKILL of the leader in mid-stream is told as killed and leaves nothing.
func TestLeaderKilled(t *testing.T) {
	w := begin(t, "")
	for _, cli := range six() {
		t.Run(cli, func(t *testing.T) {
			a, err := w.Chat(bounded(t, long), daemon.Body(cli, "SCN=long N=60 DELAY=200", map[string]any{"stream": true}), func(a *daemon.Answer) {
				if a.Deltas == 2 {
					if err := syscall.Kill(leader(t, w.Pids(a.Run)), syscall.SIGKILL); err != nil {
						t.Error(err)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if a.Code() != "killed" || a.Finish != "" || !a.Done {
				t.Errorf("code %q finish %q done %v error %+v", a.Code(), a.Finish, a.Done, a.Error)
			}
			if err := w.WaitEmpty(time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// leader is the process whose parent is not in the group.
func leader(t *testing.T, pids []int) int {
	t.Helper()
	in := map[int]bool{}
	for _, p := range pids {
		in[p] = true
	}
	for _, p := range pids {
		if !in[parent(p)] {
			return p
		}
	}
	t.Fatalf("no leader among %v", pids)
	return 0
}

func parent(pid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(raw), ") ")
	var state string
	var ppid int
	_, _ = fmt.Sscan(rest, &state, &ppid)
	return ppid
}

// gemini relaunches itself unless told not to; killing the child that does the
// work must not leave the launcher, nor read as success.
func TestRelaunchedChildKilled(t *testing.T) {
	w := begin(t, "[backends.gemini.set_env]\nGEMINI_CLI_NO_RELAUNCH = \"\"\n")
	a, err := w.Chat(bounded(t, long), daemon.Body("gemini", "SCN=long N=60 DELAY=200", map[string]any{"stream": true}), func(a *daemon.Answer) {
		if a.Deltas != 2 {
			return
		}
		pids := w.Pids(a.Run)
		lead := leader(t, pids)
		for _, p := range pids {
			if parent(p) == lead {
				_ = syscall.Kill(p, syscall.SIGKILL)
				return
			}
		}
		t.Errorf("no relaunched child among %v", pids)
		_ = syscall.Kill(lead, syscall.SIGKILL)
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Code() != "killed" || a.Finish != "" {
		t.Errorf("code %q finish %q error %+v", a.Code(), a.Finish, a.Error)
	}
	if err := w.WaitEmpty(time.Second); err != nil {
		t.Error(err)
	}
}

// Text that the CLI's own retry voids is never concatenated with its replacement.
func TestVoidedText(t *testing.T) {
	w := begin(t, "")
	for _, cli := range three() {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/stream=%v", cli, stream), func(t *testing.T) {
				a, err := w.Chat(bounded(t, long), daemon.Body(cli, fmt.Sprintf("SCN=void N=6 DELAY=20 take %v", stream), map[string]any{"stream": stream}), nil)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(a.Text, "void") && strings.Contains(a.Text, "tok") {
					t.Errorf("voided text and its replacement in one answer: %q", a.Text)
				}
				if a.Error == nil && a.Finish != "stop" {
					t.Errorf("finish %q", a.Finish)
				}
				t.Logf("text %q error %+v", a.Text, a.Error)
			})
		}
	}
}

// Nothing of a prompt is on a command line, and the daemon's own secrets are in no child.
func TestNothingSecretShows(t *testing.T) {
	w := begin(t, "")
	for _, cli := range six() {
		t.Run(cli, func(t *testing.T) {
			looked := false
			_, err := w.Chat(bounded(t, long), daemon.Body(cli, "SCN=long N=10 DELAY=50 sesame-prompt", map[string]any{
				"stream": true,
				"messages": []map[string]any{
					{"role": "system", "content": "sesame-system"},
					{"role": "user", "content": "SCN=long N=10 DELAY=50 sesame-prompt"},
				}}), func(a *daemon.Answer) {
				for _, pid := range w.Pids(a.Run) {
					cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
					environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
					looked = looked || len(cmdline) > 0
					if strings.Contains(string(cmdline), "sesame") || strings.Contains(string(environ), "sesame") || strings.Contains(string(environ), "PENSTOCK_") {
						t.Errorf("pid %d: command line %q or environment shows what it must not", pid, cmdline)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if !looked {
				t.Error("no process was looked at")
			}
		})
	}
}
