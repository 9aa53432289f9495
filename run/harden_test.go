package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/outcome"
	"penstock/sandbox"
	"penstock/spawn"
)

func TestOpensWhateverLiesAround(t *testing.T) {
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
			make(filepath.Join(dir, recordName)), make(filepath.Join(sessions, sessionKey("c", name)+".json")))
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

// asOther runs f with the file rights of a user that is not root.
func asOther(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread is not to be used again
		if _, err := unix.SetfsuidRetUid(54321); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func readOnlyTree(t *testing.T, dir string) {
	t.Helper()
	deep := filepath.Join(dir, "mod", "pkg")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "file"), []byte("x"), 0o444); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Join(deep, "file"), deep, filepath.Dir(deep), dir} {
		if err := os.Lchown(d, 54321, 54321); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
	for _, d := range []string{deep, filepath.Dir(deep)} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemovesReadOnlyDirectories(t *testing.T) {
	top := t.TempDir()
	for d := top; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	d := &directory{path: filepath.Join(top, "r")}
	readOnlyTree(t, d.path)
	asOther(t, func() {
		if err := d.removeScratch(); err != nil {
			t.Error(err)
		}
	})
	if got := names(t, d.path); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	readOnlyTree(t, d.path)
	asOther(t, func() {
		if err := d.remove(); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Lstat(d.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestScratchBehindALinkStays(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	kept := filepath.Join(elsewhere, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := &directory{path: filepath.Join(dir, "r")}
	if err := os.Symlink(elsewhere, d.path); err != nil {
		t.Fatal(err)
	}
	if err := d.removeScratch(); err == nil {
		t.Error("a link was followed")
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Error(err)
	}
}

func TestPruneKeepsWhatItCannotRemove(t *testing.T) {
	m := open(t)
	r := start(t, m, script("echo 'd stop'"))
	wait(t, "removal", r.done)
	dir := r.dir
	r.dir = &directory{path: dir.file(spoolName) + "/below"} // no directory: it can't be removed
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

func TestFailedStartLeavesNoSession(t *testing.T) {
	m := open(t)
	s := script("", inSession("s"), func(s *Spec) { s.Argv, s.Home = []string{"/nonexistent/cli"}, private })
	if _, err := m.Start(t.Context(), s); err == nil {
		t.Fatal("started")
	}
	if got := names(t, m.state.sessions()); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	verdict(t, start(t, m, script("echo 's x'; touch mine; echo 'd stop'", inSession("s"))), outcome.Completed)
	if _, err := m.Start(t.Context(), s); err == nil {
		t.Fatal("started")
	}
	if _, err := os.Stat(filepath.Join(m.sessions.path(sessionKey("tester", "s")), workName, "mine")); err != nil {
		t.Errorf("a session in use lost its files: %v", err)
	}
}

func TestUnusedSessionsExpire(t *testing.T) {
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
	if got := names(t, m.state.sessions()); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestTurnIsTakenBeforeTheStart(t *testing.T) {
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

func TestRememberedCwdIsChecked(t *testing.T) {
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
func TestOwnDirectoryIsNoLink(t *testing.T) {
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

func TestGivesLinksNotWhatTheyPointTo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root may give files away")
	}
	out := filepath.Join(t.TempDir(), "out")
	d := newDirectory(t, &User{Name: "guest", UID: 54321, GID: 54322})
	if err := errors.Join(os.WriteFile(out, nil, 0o600), os.Mkdir(d.file(homeName), 0o700),
		os.Mkdir(d.file("home/sub"), 0o700), os.Symlink(out, d.file("home/sub/link"))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(giveTree(d.file(homeName), d.user), d.write([]backend.File{{Name: "a/b"}, {Name: "a/c/d"}})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{
		out: 0, d.path: 0, d.file("home"): 54321, d.file("home/sub"): 54321, d.file("home/sub/link"): 54321,
		d.file("a"): 54321, d.file("a/b"): 54321, d.file("a/c"): 54321, d.file("a/c/d"): 54321,
	} {
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil || st.Uid != want {
			t.Errorf("%s: owner %d, want %d, %v", name, st.Uid, want, err)
		}
	}
}

func TestSlotIsKeptForABirthThatCannotBeEnded(t *testing.T) {
	m := &Manager{quit: make(chan struct{})}
	called := make(chan struct{})
	born := make(chan struct{})
	m.afterStart(fmt.Errorf("x: %w", &spawn.StartError{Cause: outcome.CLIError, Err: io.EOF, Gone: born}), func() { close(called) })
	if isClosed(called) {
		t.Error("the slot was given free before the birth had ended")
	}
	close(born)
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
		t.Error("told wrong")
	}
}

// A record as large as a client's metadata may be must be read again.
func TestRecordsFitWhatIsRead(t *testing.T) {
	d := newDirectory(t, nil)
	big, err := json.Marshal(string(make([]byte, 100<<10)))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.save(Record{ID: "r", State: Finished, Metadata: big}); err != nil {
		t.Fatal(err)
	}
	if got, _ := d.load(); got.State != Finished || got.Cause != "" {
		t.Errorf("loaded as %s %s (%s)", got.State, got.Cause, got.Message)
	}
}
