package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/internal/trash"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/spawn"
)

func inSession(name string, change ...func(*Spec)) func(*Spec) {
	return func(s *Spec) {
		s.Session = name
		for _, c := range change {
			c(s)
		}
	}
}

func TestSession_OutlivesAKilledFirstTurn(t *testing.T) {
	m := open(t)
	if _, ok := m.SessionKnown("tester", "talk"); ok {
		t.Error("known before its first turn")
	}
	r := start(t, m, script(`touch mine; echo "s cli-1"; exec sleep 300`, inSession("talk")))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if id, ok := m.SessionKnown("tester", "talk"); ok {
			if id != "cli-1" {
				t.Errorf("known as %q", id)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("session not known while its first turn lives")
		}
	}
	onDisk, err := sessions.Open(m.state, time.Hour, func(path string, err error) { t.Error(path, err) })
	if err != nil || len(onDisk.List("")) != 1 {
		t.Fatalf("on disk while the turn lives: %v, %v", onDisk, err)
	}
	if err := m.Forget("tester", "talk"); !errors.Is(err, ErrSessionBusy) {
		t.Errorf("forget with a live run: %v", err)
	}
	r.End(outcome.Cancelled)
	verdict(t, r, outcome.Cancelled)

	var q atomic.Pointer[backend.Request]
	again := start(t, m, script(`ls; echo "t $HOME"; echo "d stop"`, inSession("talk", func(s *Spec) { s.Backend = agent{seen: &q} })))
	verdict(t, again, outcome.Completed)
	key := sessions.Key("tester", "talk")
	if p := q.Load(); p.Session != "cli-1" || p.Cwd != filepath.Join(m.state.Sessions(), key, "work") {
		t.Errorf("second turn's request: %+v", p)
	}
	if got := names(t, q.Load().Cwd); !cmp.Equal(got, []string{"mine"}) {
		t.Errorf("working directory holds %q", got)
	}
	if again.Record().CLISession != "cli-1" {
		t.Errorf("record: %+v", again.Record())
	}
	_, err = m.Start(t.Context(), script("echo 'd stop'", inSession("talk", func(s *Spec) { s.Backend = other{} })))
	var wrong *SessionError
	if !errors.As(err, &wrong) || wrong.Field != "backend" || wrong.Have != "agent" || wrong.Want != "other" {
		t.Errorf("other backend: %v", err)
	}
	_, err = m.Start(t.Context(), script("echo 'd stop'", inSession("talk", func(s *Spec) { s.Cwd = "/" })))
	if !errors.As(err, &wrong) || wrong.Field != "cwd" {
		t.Errorf("other cwd: %v", err)
	}
	if got := m.Sessions("tester"); len(got) != 1 || got[0].Session != "talk" || len(m.Sessions("nobody")) != 0 || len(m.Sessions("")) != 1 {
		t.Errorf("listed: %+v", got)
	}
	if err := m.Forget("nobody", "talk"); !errors.Is(err, ErrNoSession) {
		t.Errorf("forget another client's: %v", err)
	}
	if err := m.Forget("tester", "talk"); err != nil {
		t.Error(err)
	}
	if left := names(t, m.state.Sessions()); len(left) != 0 {
		t.Errorf("left after forget: %q", left)
	}
}

func TestSessionLock_OneRunInOrder(t *testing.T) {
	m := open(t)
	log := filepath.Join(t.TempDir(), "order")
	turn := func(id, rest string) Spec {
		return script("echo +"+id+" >> "+log+"; "+rest+"; echo -"+id+" >> "+log+"; echo 'd stop'", inSession("q", func(s *Spec) {
			s.ID, s.Backend, s.Grace = id, agent{settle: true}, 10*time.Second
		}))
	}
	first := start(t, m, turn("1", "sleep 0.5"))
	var all sync.WaitGroup
	for _, id := range []string{"2", "3"} {
		all.Go(func() {
			r, err := m.Start(t.Context(), turn(id, "sleep 0.1"))
			if err != nil {
				t.Error(err)
				return
			}
			<-r.Ended()
		})
		awaitState(t, m, id, Waiting)
	}
	all.Wait()
	verdict(t, first, outcome.Completed)
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "+1 -1 +2 -2 +3 -3"; strings.Join(strings.Fields(string(got)), " ") != want {
		t.Errorf("order: %q, want %q", got, want)
	}
}

func TestSessionLock_CancelledWhileWaiting(t *testing.T) {
	m := open(t)
	first := start(t, m, script("sleep 300", inSession("q")))
	mark := filepath.Join(t.TempDir(), "mark")
	for _, test := range []struct {
		name  string
		end   func(r *Run, cancel context.CancelFunc)
		check func(error) bool
	}{
		{"by its context", func(_ *Run, cancel context.CancelFunc) { cancel() }, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"by its end", func(r *Run, _ context.CancelFunc) { r.End(outcome.Cancelled) }, causeIs(outcome.Cancelled)},
		{"by its deadline", nil, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s := script("touch "+mark+"; echo 'd stop'", inSession("q", func(s *Spec) { s.ID = "second" }))
		if test.end == nil {
			s.Deadline = time.Now().Add(200 * time.Millisecond)
		}
		gone := counted(t, &s)
		failed := make(chan error, 1)
		go func() {
			_, err := m.Start(ctx, s)
			failed <- err
		}()
		r := awaitState(t, m, "second", Waiting)
		if listed := m.List(Filter{State: Waiting}); len(listed) != 1 || listed[0].ID != "second" {
			t.Errorf("%s: waiting ones listed: %+v", test.name, listed)
		}
		reader := r.Follow(0)
		if test.end != nil {
			test.end(r, cancel)
		}
		if err := <-failed; !test.check(err) {
			t.Errorf("%s: %v", test.name, err)
		}
		cancel()
		if got := events(t, reader); len(got) != 0 {
			t.Errorf("%s: events %v", test.name, got)
		}
		wait(t, "end", r.Ended())
		if gone.Load() != 1 {
			t.Errorf("%s: OnGone came %d times", test.name, gone.Load())
		}
	}
	first.End(outcome.Cancelled)
	verdict(t, first, outcome.Cancelled)
	third := start(t, m, script("echo 'd stop'", inSession("q")))
	verdict(t, third, outcome.Completed)
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Error("a run cancelled while it waited was started")
	}
}

func TestSessionLock_TakenBeforeTheStart(t *testing.T) {
	m := open(t)
	turn, err := m.LockSession(t.Context(), "tester", "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.LockSession(short, "tester", "s", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second turn: %v", err)
	}
	r := start(t, m, script("sleep 60", inSession("s"), func(s *Spec) { s.SessionLock = turn }))
	next := make(chan *SessionLock, 1)
	go func() {
		turn, err := m.LockSession(t.Context(), "tester", "s", nil)
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
	if turn, err = m.LockSession(t.Context(), "tester", "s", nil); err != nil {
		t.Fatalf("a failed start kept the turn: %v", err)
	}
	defer turn.Release()
	ended := make(chan error, 1)
	go func() {
		_, err := m.LockSession(t.Context(), "tester", "s", nil)
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

// A session is forgotten whole or not at all, and what can't be deleted is not in
// its place any more.
func TestForget_IsWholeOrNot(t *testing.T) {
	m := open(t)
	turn := func() {
		t.Helper()
		verdict(t, start(t, m, script("echo 's x'; touch mine; echo 'd stop'", inSession("s"))), outcome.Completed)
	}
	turn()
	key := sessions.Key("tester", "s")
	places := func() []string {
		return append(names(t, m.state.Sessions()), names(t, filepath.Join(m.state.Path, "store", "sessions"))...)
	}
	before := places()
	inTheWay := filepath.Join(m.state.Path, "trash")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Forget("tester", "s"); err == nil {
		t.Error("forgotten, with no way to remove its files")
	}
	if _, ok := m.SessionKnown("tester", "s"); !ok {
		t.Error("half forgotten: it is not known any more")
	}
	if diff := cmp.Diff(before, places()); diff != "" {
		t.Errorf("half forgotten (-before +after):\n%s", diff)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(m.sessions.Path(key), store.WorkName, "mine")
	if !immutable(t, mine, true) {
		return
	}
	if err := m.Forget("tester", "s"); err != nil {
		t.Errorf("forget a session with a file that can't be deleted: %v", err)
	}
	if left := places(); len(left) != 0 {
		t.Errorf("still in its place: %q", left)
	}
	if left := names(t, filepath.Join(m.state.Path, trash.Name)); len(left) != 1 {
		t.Fatalf("in the trash: %q", left)
	}
	turn()
	_ = filepath.WalkDir(filepath.Join(m.state.Path, trash.Name), func(path string, e fs.DirEntry, _ error) error {
		if e.Name() == "mine" {
			immutable(t, path, false)
		}
		return nil
	})
	m.emptyTrash()
	if left := names(t, filepath.Join(m.state.Path, trash.Name)); len(left) != 0 {
		t.Errorf("the trash is not emptied: %q", left)
	}
}

// immutable makes a file undeletable, or deletable again; false where it can't.
func immutable(t *testing.T, path string, on bool) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags := 0
	if on {
		flags = 0x10 // FS_IMMUTABLE_FL
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
		t.Logf("part skipped: this file system, or this user, can't make a file immutable: %v", err)
		return false
	}
	return true
}

// ofRun makes a run whose session goes with it.
func ofRun(id, session string, durable bool) func(*Spec) {
	return func(s *Spec) {
		s.ID, s.Session, s.SessionOfRun, s.Durable, s.Fingerprint = id, session, true, durable, []byte(id)
	}
}

// A session that was made for a run goes, with its directories, when its last run does, however that
// goes; one that a client has named stays.
func TestSession_OfRun(t *testing.T) {
	turn := func(t *testing.T, m *Manager, change func(*Spec)) {
		t.Helper()
		r := start(t, m, script("echo 's cli'; echo 'd stop'", change))
		verdict(t, r, outcome.Completed)
		wait(t, "its end", r.done)
	}
	has := func(t *testing.T, m *Manager, session string, want bool) {
		t.Helper()
		_, known := m.SessionKnown("tester", session)
		_, err := os.Stat(m.sessions.Path(sessions.Key("tester", session)))
		if known != want || (err == nil) != want {
			t.Errorf("%s: known %v, directory %v, want %v", session, known, err, want)
		}
	}
	for _, durable := range []bool{false, true} {
		state := t.TempDir()
		t.Run("first", func(t *testing.T) {
			m := open(t, func(o *Options) { o.StateDir = state })
			turn(t, m, ofRun("a", "resp_a", durable))
			turn(t, m, ofRun("b", "resp_b", durable))
			turn(t, m, ofRun("b2", "resp_b", durable)) // goes on in it
			turn(t, m, ofRun("c", "resp_c", durable))
			turn(t, m, inSession("resp_c")) // by its name
			turn(t, m, ofRun("d", "resp_d", durable))
			turn(t, m, inSession("mine"))
			turn(t, m, ofRun("e", "mine", durable)) // goes on in a client's own
			turn(t, m, ofRun("f", "resp_f", durable))
			lock, ok := m.ClaimSession("tester", "resp_d", "agent", "d")
			if !ok {
				t.Fatal("not claimed")
			}
			for _, id := range []string{"a", "b", "c", "d", "e"} {
				if err := m.Remove(id); err != nil {
					t.Error(err)
				}
			}
			lock.Release()
			for session, want := range map[string]bool{"resp_a": false, "resp_b": true, "resp_c": true, "resp_d": true, "mine": true, "resp_f": true} {
				has(t, m, session, want)
			}
			m.expire(time.Now())
			has(t, m, "resp_d", false)
			if lock, ok = m.ClaimSession("tester", "resp_b", "agent", "b2"); !ok {
				t.Error("resp_b can't go on")
			}
			lock.Release()
			for _, s := range m.Sessions("tester") {
				if s.OfRun {
					t.Errorf("shown: %+v", s)
				}
			}
			m.prune(time.Now().Add(2 * time.Hour))
			for session, want := range map[string]bool{"resp_b": false, "resp_c": true, "mine": true, "resp_f": false} {
				has(t, m, session, want)
			}
		})
	}
}

// It goes at the next start, too, where the daemon that removed its run had no time to.
func TestSession_OfRunAtStart(t *testing.T) {
	state := t.TempDir()
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		for _, id := range []string{"a", "b"} {
			r := start(t, m, script("echo 's cli'; echo 'd stop'", ofRun(id, "resp_"+id, true)))
			verdict(t, r, outcome.Completed)
			wait(t, "its end", r.done)
		}
		release, _ := m.sessionLocks.TryAcquire(sessions.Key("tester", "resp_a"))
		defer release()
		if err := m.Remove("a"); err != nil {
			t.Error(err)
		}
	})
	m := reopened(t, state, nil, nil)
	for end := time.Now().Add(10 * time.Second); len(names(t, m.state.Sessions())) != 1 || m.sessionLocks.Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left: %q", names(t, m.state.Sessions()))
		}
	}
	if _, ok := m.SessionKnown("tester", "resp_b"); !ok {
		t.Error("the one whose run is kept is gone")
	}
}
