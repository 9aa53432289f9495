package spawn

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/outcome"
)

// Neither a read-only mount nor Landlock is asked by CLONE_INTO_CGROUP.
func TestEscape_Clone3IntoAnotherGroup(t *testing.T) {
	s := open(t, false)
	root := s.root.Path()
	other := newJob(t, "run_other", "echo up; exec sleep 600")
	p := other.mustStart(s)
	other.says("up")
	deeds := []string{"clone3 " + root, "clone3 " + filepath.Dir(root), "clone3 " + groupDir(s, "run_other")}
	out, _ := newHostile(t, "run_clone3", deeds...).run(s)
	if strings.Contains(out, "DONE") || strings.Count(out, "refused: ") != len(deeds) {
		t.Errorf("a child gave birth in another group:\n%s", out)
	}
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
}

// What the kernel lets a process do to its parent, or to one of its user.
func TestEscape_DaemonIsNotTouched(t *testing.T) {
	s := open(t, false)
	deeds := []string{"parent", fmt.Sprintf("limit %d", os.Getpid())}
	// The hostile process itself must be the daemon's child.
	for i, deed := range deeds {
		j := newHostile(t, fmt.Sprintf("run_touch_%d", i), deed)
		j.Argv[2] = strings.Replace(j.Argv[2], "' ", "' exec ", 1)
		if out, _ := j.run(s); !strings.Contains(out, "refused: operation not permitted") {
			t.Errorf("a child could: %s", out)
		}
	}
	out, _ := newJob(t, "run_limits", "ulimit -c 0 && ulimit -c; sh -c 'exit 3'; echo $?").run(s)
	if out != "0\n3\n" {
		t.Errorf("its own limits and children: %q", out)
	}
	if out, _ := newHostile(t, "run_self", "limit 0").run(s); !strings.HasPrefix(out, "DONE") {
		t.Errorf("its own limit: %s", out)
	}
}

// Where Landlock has no scopes the filter keeps accidents from the daemon.
func TestSeccompFilter_ProtectedPIDs(t *testing.T) {
	needRoot(t)
	victim := bystander(t)
	l, err := openLauncher(unifiedProcs(t), MaskPaths{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.sandbox.filter = runFilter([]uint32{uint32(victim), uint32(1<<32 - 1)})
	if err := l.sandbox.open(); err != nil { // without the domain
		t.Fatal(err)
	}
	deeds := newHostile(t, "", fmt.Sprintf("signal %d", victim), "signal -1").Argv[2]
	got := script(t, l, deeds+"sleep 600 & kill $! && wait $! 2>/dev/null; echo $?")
	if strings.Contains(got, "DONE") || strings.Count(got, "not permitted") != 2 || !strings.HasSuffix(got, "143\n") {
		t.Errorf("a child said: %s", got)
	}
}

// System V memory ends with the run that made it.
func TestSandbox_SharedMemoryEndsWithItsRun(t *testing.T) {
	needRoot(t)
	if _, err := os.Stat("/proc/self/ns/ipc"); err != nil {
		t.Skipf("this kernel has no IPC namespaces: %v", err)
	}
	segments := func() int {
		text, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Skipf("this kernel has no System V memory: %v", err)
		}
		return strings.Count(string(text), "\n")
	}
	before := segments()
	out, _ := newHostile(t, "run_memory", "memory").run(open(t, false))
	if !strings.HasPrefix(out, "DONE") {
		t.Fatalf("no segment made: %s", out)
	}
	if after := segments(); after != before {
		t.Errorf("%d segments, %d before", after, before)
	}
}

// A child that can't be sealed is not started at all.
func TestSandbox_RefusedStart(t *testing.T) {
	s := open(t, false)
	kept := s.launcher.sandbox
	s.launcher.sandbox.filter = &unix.SockFprog{} // no program at all
	_, err := newJob(t, "run_nosandbox", "exit 0").start(s)
	s.launcher.sandbox = kept
	var refused *StartError
	if !errors.As(err, &refused) || refused.Cause != outcome.StartFailed || !strings.Contains(err.Error(), "sandbox") {
		t.Errorf("got %v", err)
	}
	if _, o := newJob(t, "run_sandboxed", "exit 0").run(s); o.Exit != exited0 {
		t.Errorf("the next one: %+v", o.Exit)
	}
}

// Two runs of the same user are strangers to each other.
func TestSandbox_RunsAreApart(t *testing.T) {
	if landlockABI() < scopeABI {
		if lab() {
			return // documented: its kernel has no Landlock
		}
		t.Skipf("this kernel has Landlock ABI %d: scopes came with %d", landlockABI(), scopeABI)
	}
	s := open(t, false)
	other := newJob(t, "run_other", "echo up; exec sleep 600")
	p := other.mustStart(s)
	other.says("up")
	pid := p.PID()
	outside, err := net.Listen("unix", fmt.Sprintf("@penstock-test-%d", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	deeds := []string{
		fmt.Sprintf("signal %d", pid), fmt.Sprintf("trace %d", pid), "connect " + outside.Addr().String(),
	}
	out, _ := newHostile(t, "run_stranger", deeds...).run(s)
	if strings.Contains(out, "DONE") || strings.Count(out, "refused: ") != len(deeds) {
		t.Errorf("a child could:\n%s", out)
	}
	if got, _ := newJob(t, "run_environ", fmt.Sprintf("cat /proc/%d/environ >/dev/null 2>&1 && echo READ; echo end", pid)).run(s); got != "end\n" {
		t.Errorf("a child read another run's environment: %s", got)
	}
	p.End(outcome.Cancelled)
	awaitProcess(t, p)
}
