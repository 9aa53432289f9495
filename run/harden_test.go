package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/run/store"
	"penstock/sandbox"
	"penstock/spawn"
)

func TestOpen_WhateverLiesAround(t *testing.T) {
	state := t.TempDir()
	bad := map[string]func(path string) error{
		"fifo":    func(p string) error { return unix.Mkfifo(p, 0o600) },
		"link":    func(p string) error { return os.Symlink("/dev/zero", p) },
		"dir":     func(p string) error { return os.Mkdir(p, 0o700) },
		"garbage": func(p string) error { return os.WriteFile(p, []byte("\x00\xff{"), 0o600) },
		"cut":     func(p string) error { return os.WriteFile(p, []byte(`{"id":"cut","state":"fin`), 0o600) },
		"huge": func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("{"), 0o600), os.Truncate(p, 8<<30))
		},
	}
	for name, make := range bad {
		dir := filepath.Join(state, "runs", name)
		sessions := filepath.Join(state, "sessions")
		err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(sessions, 0o700),
			make(filepath.Join(dir, "run.json")), make(filepath.Join(sessions, sessionKey("c", name)+".json")))
		if err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, func(o *Options) { o.StateDir = state })
	for name := range bad {
		r, ok := m.Get(name)
		if !ok {
			t.Errorf("%s: not there", name)
			continue
		}
		verdict(t, r, outcome.Lost)
	}
	if got := m.Sessions(""); len(got) != 0 {
		t.Errorf("sessions: %+v", got)
	}
}

func TestPrune_KeepsWhatItCannotRemove(t *testing.T) {
	m := open(t)
	r := start(t, m, script("echo 'd stop'"))
	wait(t, "removal", r.done)
	dir := r.dir
	r.dir = &store.Dir{Path: dir.File(store.SpoolName) + "/below"} // no directory: it can't be removed
	now := time.Now().Add(2 * time.Hour)
	if n := m.prune(now); n != 0 {
		t.Errorf("%d pruned", n)
	}
	if _, ok := m.Get(r.ID()); !ok {
		t.Error("forgotten, with its files on disk")
	}
	r.dir = dir
	if n := m.prune(now.Add(time.Minute)); n != 0 {
		t.Errorf("%d pruned, tried again at once", n)
	}
	if n := m.prune(now.Add(2 * removeEvery)); n != 1 {
		t.Errorf("%d pruned, want 1", n)
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
	if _, err := os.Stat(filepath.Join(m.sessions.path(sessionKey("tester", "s")), store.WorkName, "mine")); err != nil {
		t.Errorf("a session in use lost its files: %v", err)
	}
}

func TestSession_UnusedExpire(t *testing.T) {
	m := open(t, func(o *Options) { o.KeepSessions = time.Hour })
	verdict(t, start(t, m, script("echo 's x'; echo 'd stop'", inSession("old"))), outcome.Completed)
	later := time.Now().Add(2 * time.Hour)
	turn, err := m.LockSession(t.Context(), "tester", "old")
	if err != nil {
		t.Fatal(err)
	}
	m.expire(later)
	if _, ok := m.SessionKnown("tester", "old"); !ok {
		t.Error("expired while in use")
	}
	turn.Release()
	m.expire(time.Now())
	if _, ok := m.SessionKnown("tester", "old"); !ok {
		t.Error("expired too early")
	}
	m.expire(later)
	if got := names(t, m.state.Sessions()); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestSessionLock_TakenBeforeTheStart(t *testing.T) {
	m := open(t)
	turn, err := m.LockSession(t.Context(), "tester", "s")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.LockSession(short, "tester", "s"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second turn: %v", err)
	}
	r := start(t, m, script("sleep 60", inSession("s"), func(s *Spec) { s.SessionLock = turn }))
	next := make(chan *SessionLock, 1)
	go func() {
		turn, err := m.LockSession(t.Context(), "tester", "s")
		if err != nil {
			t.Error(err)
		}
		next <- turn
	}()
	r.End(outcome.Cancelled)
	verdict(t, r, outcome.Cancelled)
	turn = <-next
	if _, err := m.Start(t.Context(), script("", inSession("other"), func(s *Spec) { s.SessionLock = turn })); err == nil {
		t.Error("started with another session's turn")
	}
	if turn, err = m.LockSession(t.Context(), "tester", "s"); err != nil {
		t.Fatalf("a failed start kept the turn: %v", err)
	}
	defer turn.Release()
	ended := make(chan error, 1)
	go func() {
		_, err := m.LockSession(t.Context(), "tester", "s")
		ended <- err
	}()
	if err := m.End(t.Context(), t.Context(), outcome.ShuttingDown); err != nil {
		t.Error(err)
	}
	var why *spawn.StartError
	if err := <-ended; !errors.As(err, &why) || why.Cause != outcome.ShuttingDown {
		t.Errorf("a turn awaited while the manager ends: %v", err)
	}
}

func TestWorkDir_RememberedCwdIsChecked(t *testing.T) {
	m := open(t)
	cwd := t.TempDir()
	verdict(t, start(t, m, script("echo 's x'; echo 'd stop'", inSession("s", func(s *Spec) { s.Cwd = cwd }))), outcome.Completed)
	refused := errors.New("outside of workspace_roots")
	var asked string
	_, err := m.Start(t.Context(), script("echo 'd stop'", inSession("s", func(s *Spec) {
		s.OpenCwd = func(cwd string) (*os.File, error) { asked = cwd; return nil, refused }
	})))
	if !errors.Is(err, refused) || asked != cwd {
		t.Errorf("asked %q, got %v", asked, err)
	}
	verdict(t, start(t, m, script("echo 's x'; echo 'd stop'", inSession("own"))), outcome.Completed)
	verdict(t, start(t, m, script("echo 'd stop'", inSession("own", func(s *Spec) {
		s.OpenCwd = func(string) (*os.File, error) { return nil, refused }
	}))), outcome.Completed)
}

// A run of the daemon's own user can put a link in the place of its session's
// directory; the next turn doesn't follow it.
func TestWorkDir_IsNoLink(t *testing.T) {
	m := open(t)
	out := t.TempDir()
	swap := script(`echo "s x"; cd ..; mv work was; ln -s "$OUT" work; echo "d stop"`, inSession("s", func(s *Spec) {
		s.Env = append(s.Env, "OUT="+out)
	}))
	verdict(t, start(t, m, swap), outcome.Completed)
	if _, err := m.Start(t.Context(), script("touch here; echo 'd stop'", inSession("s"))); !errors.Is(err, sandbox.ErrMoved) {
		t.Errorf("started: %v", err)
	}
	if left := names(t, out); len(left) != 0 {
		t.Errorf("it worked where the link leads: %q", left)
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

func TestWithin(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	if within(time.Millisecond, func() { <-stuck }) || !within(time.Minute, func() {}) {
		t.Error("the wrong answer")
	}
}
