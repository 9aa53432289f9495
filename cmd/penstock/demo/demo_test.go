package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
)

// markVariable is in the environment of every process of a demo tree under test.
const markVariable = "DEMO_TEST_MARK"

// TestProcess is no test: it is the demo as a process of its own.
func TestProcess(t *testing.T) {
	if os.Getenv(markVariable) == "" {
		t.Skip("only runs as a child of the other tests")
	}
	p := &program{ctx: context.Background(), stdout: os.Stdout, stderr: os.Stderr, self: selfArgv()}
	os.Exit(p.run(os.Stdin))
}

func selfArgv() []string { return []string{os.Args[0], "-test.run=^TestProcess$"} }

// processTree runs a prompt as a process and ends what is left of it afterwards.
type processTree struct {
	t      *testing.T
	mark   string
	stdout string
	stderr string
	state  *os.ProcessState
}

func runPrompt(t *testing.T, prompt string) *processTree {
	t.Helper()
	d := &processTree{t: t, mark: fmt.Sprintf("%s=%d.%d", markVariable, os.Getpid(), time.Now().UnixNano())}
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var stderr bytes.Buffer
	self := selfArgv()
	cmd := exec.Command(self[0], self[1:]...)
	cmd.Env = append(os.Environ(), d.mark)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(prompt), out, &stderr
	t.Cleanup(d.end)
	var status *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &status) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	d.stdout, d.stderr, d.state = string(text), stderr.String(), cmd.ProcessState
	return d
}

func TestRun_Last(t *testing.T) {
	for prompt, want := range map[string]string{
		`/last {"a":1} Answer with /kill`:           `{"text":"{\"a\":1} "}`,
		`/last {"a": "it broke"} Answer with /kill`: `{"text":"{\"a\": \"it broke\"} "}`,
		`/last nothing Answer with /kill`:           `{"text":"nothing "}`,
	} {
		var out bytes.Buffer
		if status := Run(t.Context(), strings.NewReader(prompt), &out, &out); status != 0 {
			t.Fatalf("status %d: %s", status, &out)
		}
		if said := out.String(); !strings.Contains(said, want) || strings.Contains(said, "Answer") {
			t.Errorf("%s: it says %s", prompt, said)
		}
	}
}

// left are the pids of the tree that still run.
func (d *processTree) left() []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err == nil && bytes.Contains(environ, []byte(d.mark)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (d *processTree) end() {
	for _, pid := range d.left() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// sleepers waits until the tree is n processes that have become sleep(1).
func (d *processTree) sleepers(n int) []int {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		pids := d.left()
		asleep := 0
		for _, pid := range pids {
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) == "sleep\n" {
				asleep++
			}
		}
		if len(pids) == n && asleep == n {
			return pids
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%d processes left, %d of them sleep: want %d", len(pids), asleep, n)
		}
	}
}

// answerOf joins what the lines say, and checks that each is JSON.
func answerOf(t *testing.T, stdout string) (text string, last map[string]any) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if s, ok := last["text"].(string); ok {
			text += s
		}
	}
	return text, last
}

func TestEchoes(t *testing.T) {
	t.Setenv("AGENT_SESSION", "demo-known")
	var out, stderr bytes.Buffer
	if status := Run(t.Context(), strings.NewReader("one  two\n/etc/passwd /stderr sorrow /delay 1ms three"), &out, &stderr); status != 0 {
		t.Fatalf("status %d, stderr %s", status, &stderr)
	}
	want := strings.Join([]string{
		`{"session":"demo-known"}`, `{"text":"one "}`, `{"text":"two "}`, `{"text":"/etc/passwd "}`, `{"text":"three "}`,
		`{"usage":{"completion_tokens":4,"prompt_tokens":8}}`, `{"done":true}`, "",
	}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if stderr.String() != "sorrow\n" {
		t.Errorf("stderr %q", &stderr)
	}
}

func TestFailures(t *testing.T) {
	for _, row := range []struct {
		prompt  string
		status  int
		printed string // in an error line; "" is none
	}{
		{"word /exit 3 never", 3, ""},
		{"/exit 300", 1, "want a status"},
		{"/exit", 1, "want a status"},
		{"/sleep long", 1, "/sleep long"},
		{"/sleep -1", 1, "want a time"},
		{"/alloc 5XB", 1, "want a size"},
		{"/alloc 9999GiB", 1, "want a size"},
		{"/fork many", 1, "want a number"},
	} {
		var out, stderr bytes.Buffer
		status := Run(t.Context(), strings.NewReader(row.prompt), &out, &stderr)
		_, last := answerOf(t, out.String())
		printed, _ := last["error"].(string)
		if status != row.status || !strings.Contains(printed, row.printed) || (row.printed == "") != (printed == "") || last["done"] != nil {
			t.Errorf("%q: status %d, last line %v", row.prompt, status, last)
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	for _, prompt := range []string{"/sleep 300", "/cpu 300", "/delay 300 word"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if status := Run(ctx, strings.NewReader(prompt), &bytes.Buffer{}, &bytes.Buffer{}); status != 1 {
			t.Errorf("%q: status %d", prompt, status)
		}
	}
}

func TestSpewsAndAllocates(t *testing.T) {
	var out bytes.Buffer
	p := &program{ctx: t.Context(), stdout: &out, stderr: &out}
	if status := p.run(strings.NewReader("/spew 10000 /alloc 8MiB")); status != 0 {
		t.Fatal(out.String())
	}
	if text, _ := answerOf(t, out.String()); len(text) != 10000 {
		t.Errorf("spewed %d bytes", len(text))
	}
	if len(p.held) != 1 || len(p.held[0]) != 8<<20 || p.held[0][os.Getpagesize()] != 1 {
		t.Error("the memory is not held and touched")
	}
}

func TestKillsItself(t *testing.T) {
	d := runPrompt(t, "word /kill never")
	if status := d.state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", d.state)
	}
	if text, _ := answerOf(t, d.stdout); text != "word " {
		t.Errorf("text %q", text)
	}
}

func TestChildren(t *testing.T) {
	if _, err := exec.LookPath("sleep"); err != nil {
		t.Skip("this machine has no sleep(1)")
	}
	for _, row := range []struct {
		prompt     string
		children   int
		ownSession bool // in a session that isn't ours
		holds      bool // has the spool open
		ignores    bool // SIGTERM
	}{
		{prompt: "/fork 3", children: 3},
		{prompt: "/holdstdout", children: 1, holds: true},
		{prompt: "/outlive", children: 1, ownSession: true},
		{prompt: "/daemonize", children: 1, ownSession: true, holds: true},
		{prompt: "/ignoreterm", children: 1, ignores: true},
	} {
		t.Run(row.prompt[1:], func(t *testing.T) {
			d := runPrompt(t, "before "+row.prompt+" after")
			if text, last := answerOf(t, d.stdout); text != "before after " || last["done"] != true || !d.state.Success() {
				t.Fatalf("text %q, last line %v, %v, stderr %s", text, last, d.state, d.stderr)
			}
			for _, pid := range d.sleepers(row.children) {
				sid, err := unix.Getsid(pid)
				if err != nil {
					t.Fatal(err)
				}
				ours, _ := unix.Getsid(0)
				if (sid != ours) != row.ownSession {
					t.Errorf("session %d, ours is %d", sid, ours)
				}
				target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", pid))
				if (filepath.Base(target) == "stdout") != row.holds {
					t.Errorf("stdout is %s", target)
				}
				if got := ignoresTerm(t, pid); got != row.ignores {
					t.Errorf("ignores SIGTERM: %v", got)
				}
			}
		})
	}
}

func ignoresTerm(t *testing.T, pid int) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:")
	mask, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask&(1<<(syscall.SIGTERM-1)) != 0
}
