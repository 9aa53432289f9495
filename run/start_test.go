package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/spawn"
)

func TestStart_Failures(t *testing.T) {
	m := open(t)
	start(t, m, script("echo 'd stop'", func(s *Spec) { s.ID = "taken" }))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		change func(*Spec)
		check  func(error) bool
	}{
		{"no program", t.Context(), func(s *Spec) { s.Argv = []string{"/nonexistent/agent"} }, causeIs(outcome.CLIMissing)},
		{"no working directory", t.Context(), func(s *Spec) { s.Cwd = "/nonexistent" }, causeIs(outcome.CLIMissing)},
		{"id taken", t.Context(), func(s *Spec) { s.ID = "taken" }, func(err error) bool { return errors.Is(err, ErrExists) }},
		{"id leaves the directory", t.Context(), func(s *Spec) { s.ID = ".." }, func(err error) bool { return err != nil }},
		{"context over", ended, func(*Spec) {}, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"deadline over", t.Context(), func(s *Spec) { s.Deadline = time.Now().Add(-time.Second) }, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"backend's file outside", t.Context(), func(s *Spec) {
			s.Backend = agent{files: []backend.File{{Name: "../x", Data: []byte("x")}}}
		}, func(err error) bool { return strings.Contains(err.Error(), "below the run's directory") }},
		{"backend's file over ours", t.Context(), func(s *Spec) {
			s.Backend = agent{files: []backend.File{{Name: "tmp", Data: []byte("x")}}}
		}, func(err error) bool { return errors.Is(err, os.ErrExist) }},
	}
	before := names(t, m.state.Runs())
	for _, test := range tests {
		s := script("echo 'd stop'", test.change)
		gone := counted(t, &s)
		r, err := m.Start(test.ctx, s)
		if r != nil || err == nil || !test.check(err) {
			t.Errorf("%s: got %v, %v", test.name, r, err)
		}
		if gone.Load() != 1 {
			t.Errorf("%s: OnGone came %d times", test.name, gone.Load())
		}
	}
	if diff := cmp.Diff(before, names(t, m.state.Runs())); diff != "" {
		t.Errorf("failed starts left directories (-before +after):\n%s", diff)
	}
	if n := len(m.List(Filter{})); n != 1 {
		t.Errorf("%d runs listed, want the one that was started", n)
	}
}

func TestStart_FailedLeavesNoSession(t *testing.T) {
	m := open(t)
	s := script("", inSession("s"), func(s *Spec) { s.Argv, s.Home = []string{"/nonexistent/cli"}, private })
	if _, err := m.Start(t.Context(), s); err == nil {
		t.Fatal("started")
	}
	if got := names(t, m.state.Sessions()); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	verdict(t, start(t, m, script("echo 's x'; touch mine; echo 'd stop'", inSession("s"))), outcome.Completed)
	if _, err := m.Start(t.Context(), s); err == nil {
		t.Fatal("started")
	}
	if _, err := os.Stat(filepath.Join(m.sessions.Path(sessions.Key("tester", "s")), store.WorkName, "mine")); err != nil {
		t.Errorf("a session in use lost its files: %v", err)
	}
}

func TestStart_SlotIsKeptUntilItIsOver(t *testing.T) {
	m := &Manager{quit: make(chan struct{})}
	called := make(chan struct{})
	over := make(chan struct{})
	m.afterStart(fmt.Errorf("x: %w", &spawn.StartError{Cause: outcome.CLIError, Err: io.EOF, Gone: over}), func() { close(called) })
	if isClosed(called) {
		t.Error("the slot was given free before the start was over")
	}
	close(over)
	wait(t, "OnGone", called)
	for _, err := range []error{io.EOF, &spawn.StartError{Cause: outcome.CLIError, Err: io.EOF}} {
		n := 0
		m.afterStart(err, func() { n++ })
		if n != 1 {
			t.Errorf("%v: OnGone called %d times at once", err, n)
		}
	}
}

func TestStart_AsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root may run a backend as another user")
	}
	for _, umask := range []int{0o022, 0o077} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) { testAnotherUser(t, umask) })
	}
}

func testAnotherUser(t *testing.T, umask int) {
	m := open(t)
	if err := os.Chmod(filepath.Dir(m.state.Path), 0o711); err != nil {
		t.Fatal(err)
	}
	seed := t.TempDir()
	if err := os.WriteFile(filepath.Join(seed, "key"), []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := unix.Umask(umask)
	defer unix.Umask(before)
	const does = `cat; echo; echo "t $(id -u):$(id -g):$USER:"
cat $TMPDIR/../conf/a $HOME/key > $TMPDIR/x; touch mine; echo "t $(cat $TMPDIR/x)"
for attempt in "touch $TMPDIR/../new" "mv $TMPDIR/../spool $TMPDIR/mine" "cat $TMPDIR/../../../store/runs/*/run.json" "ls $TMPDIR/.." "ls $TMPDIR/../.."; do
	$attempt > /dev/null 2>&1 && echo "t !$attempt!"
done
echo "note" >> /proc/self/fd/2
echo "d stop"`
	for _, session := range []string{"", "s"} {
		r := start(t, m, script(does, inSession(session, func(s *Spec) {
			s.User = &User{Name: "guest", UID: 54321, GID: 54322}
			s.Backend = agent{files: []backend.File{{Name: "conf/a", Data: []byte("secret")}}}
			s.Home, s.HomeSeed = private, seed
			s.Request.Prompt = "t asked:"
		})))
		verdict(t, r, outcome.Completed)
		stderr, err := os.ReadFile(r.dir.File(store.StderrName))
		if err != nil || string(stderr) != "note\n" {
			t.Errorf("session %q: stderr: %q, %v", session, stderr, err)
		}
		if got, want := text(events(t, r.Follow(0))), "asked:54321:54322:guest:secretk"; got != want {
			t.Errorf("session %q: got %q, want %q", session, got, want)
		}
		for _, path := range []string{m.state.Path, m.state.Runs(), r.dir.Path} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o711 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}
}

// What tells its version is started as the runs' user: that user may have written it.
func TestProbe_AsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root may run a backend as another user")
	}
	m := open(t)
	dir := t.TempDir()
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "agent")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho 1.2 $(id -u):$(id -g):$USER:$HOME\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := m.ProbeVersion(t.Context(), Probe{Argv: []string{program}, Env: []string{"PATH=/usr/bin:/bin"}, User: &User{Name: "guest", UID: 54321, GID: 54322, Home: "/nonexistent"}})
	if want := "1.2 54321:54322:guest:/nonexistent"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestProbe_Version(t *testing.T) {
	m := open(t)
	program := filepath.Join(t.TempDir(), "agent")
	write := func(text string) {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ script, want, fails string }{
		{"echo; echo \"agent 1.2 $1\"", "agent 1.2 --version", ""},
		{"echo WARNING: no alias could be made; echo agent 3.4", "agent 3.4", ""},
		{"echo broken >&2; exit 4", "", "exit status 4: broken"},
		{"exec yes 1.0", "1.0", ""},
		{"sleep 300 & echo 2.0", "2.0", ""},
		{"", "", "printed nothing"},
	} {
		write(test.script)
		got, err := m.ProbeVersion(t.Context(), Probe{Argv: []string{program}, Env: []string{"PATH=/usr/bin:/bin"}})
		if got != test.want || (err == nil) != (test.fails == "") || (err != nil && !strings.Contains(err.Error(), test.fails)) {
			t.Errorf("%q: got %q, %v", test.script, got, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	write("sleep 300")
	if _, err := m.ProbeVersion(ctx, Probe{Argv: []string{program}, Env: []string{"PATH=/usr/bin:/bin"}}); err == nil {
		t.Error("a program that never answers gave a version")
	}
}
