package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/outcome"
	"penstock/spool"
)

func TestStateDirectoryIsForOneDaemon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := openStateDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := openStateDir(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("second daemon: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openStateDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if diff := cmp.Diff([]string{"lock", "runs", "sessions", "store"}, names(t, dir)); diff != "" {
		t.Errorf("left by the probe (-want +got):\n%s", diff)
	}
}

// What a daemon hands over is taken on a full disk, too, where no daemon starts.
func TestInheritOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	before, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.OpenFile(before.state.lockPath(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a daemon that starts: %v", err)
	}
	after, err := InheritLock(dir, left)
	if err != nil {
		t.Fatal(err)
	}
	if got := holder(left); got != fmt.Sprint(os.Getpid()) {
		t.Errorf("the lock says %q", got)
	}
	if err := after.Close(); err != nil {
		t.Error(err)
	}
}

// Who takes a lock file away for a stale one has not ended the daemon's runs.
func TestInheritWithoutTheName(t *testing.T) {
	dir := t.TempDir()
	before, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := before.state.lockPath()
	left := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(fmt.Sprint("/proc/self/fd/", before.state.lock.Fd()), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := left(), left()
	if err := errors.Join(before.Close(), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	after, err := InheritLock(dir, first)
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if _, err := LockDir(dir); err == nil {
		t.Error("the directory is not held")
	}
	if _, err := InheritLock(dir, second); err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
		t.Errorf("it was inherited from somebody who holds it: %v", err)
	}
}

// A lock whose holder is gone, and that a newborn of its has for a moment yet, is
// waited for.
func TestLockOfTheDeadIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	before, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := before.state.lock.WriteAt(fmt.Appendf(nil, "%-10d\n", gone.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { before.Close() })
	after, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); err == nil {
		t.Error("held twice")
	}
	if err := after.Close(); err != nil {
		t.Error(err)
	}
}

func TestStateDirectoryThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{"": "state_dir", "relative": "absolute", "/proc/penstock": "not writable", filepath.Join(file, "x"): "not writable"} {
		if _, err := openStateDir(dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want it to say %q", dir, err, says)
		}
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	s, err := openStateDir(open)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if info, err := os.Stat(open); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a directory open to all stays %v, %v", info.Mode(), err)
	}
}

func TestOpenTakesALockOver(t *testing.T) {
	dir := t.TempDir()
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, func(o *Options) { o.StateDir, o.Lock = dir, lock })
	verdict(t, start(t, m, script("echo 'd stop'")), outcome.Completed)
	if _, err := LockDir(dir); err == nil {
		t.Error("held twice")
	}
	elsewhere := t.TempDir()
	if lock, err = LockDir(elsewhere); err != nil {
		t.Fatal(err)
	}
	if _, err := (Options{StateDir: dir, Lock: lock}).stateDir(); err == nil {
		t.Error("a lock of another directory was taken for this one's")
	}
	if lock, err = LockDir(elsewhere); err != nil {
		t.Errorf("not given free when Open failed: %v", err)
	} else if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

// past puts a run on disk as the version before left it.
func past(t *testing.T, state, id string, r any) {
	t.Helper()
	dir := filepath.Join(state, "runs", id)
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{recordName: string(data), spoolName: "t a\n", promptName: "p"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// newDirectory is a run's, in a state directory of its own.
func newDirectory(t *testing.T, u *User) *directory {
	t.Helper()
	s, err := openStateDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	d := s.directory("r")
	if err := d.make(u); err != nil {
		t.Fatal(err)
	}
	return d
}

// A daemon that was killed after the group of a run it had ended was gone, and
// before the run's record said so, has noted why.
func TestEndThatAnEarlierDaemonNoted(t *testing.T) {
	state := t.TempDir()
	s, err := openStateDir(state)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now().Add(-time.Minute)
	for _, id := range []string{"overdue", "torn"} {
		d := s.directory(id)
		if err := d.make(nil); err != nil {
			t.Fatal(err)
		}
		d.flush = (*os.File).Sync
		peak := uint64(5)
		err := errors.Join(d.save(Record{ID: id, State: Running, Created: started, Started: &started}),
			d.saveEnd(outcome.Outcome{Reason: outcome.Timeout, Survived: 2, Receipt: cgroup.Receipt{MemoryPeakBytes: &peak, EnforcedBy: cgroup.Enforced{Kill: cgroup.Kernel}}}))
		if id == "torn" {
			err = errors.Join(err, os.Truncate(d.storePath(endName), 5))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	m := open(t, func(o *Options) { o.StateDir = state })
	for id, want := range map[string]outcome.Cause{"overdue": outcome.Timeout, "torn": outcome.Lost} {
		r, ok := m.Get(id)
		if !ok {
			t.Fatalf("%s: not there", id)
		}
		verdict(t, r, want)
	}
	if r, _ := m.Get("overdue"); r.Record().Receipt == nil || r.Record().Survived != 2 {
		t.Errorf("its receipt: %+v", r.Record())
	}
}

func TestRunsOfAnEarlierDaemon(t *testing.T) {
	state := t.TempDir()
	now := time.Now()
	ended := now.Add(-time.Minute)
	past(t, state, "live", Record{ID: "live", State: Running, Client: "c", Created: now.Add(-time.Hour), Started: &ended})
	past(t, state, "done", Record{ID: "done", State: Finished, Cause: outcome.Completed, Created: ended, Ended: &ended})
	past(t, state, "broken", "no record")
	past(t, state, "renamed", Record{ID: "other", State: Finished, Ended: &ended})
	told := &losses{}
	m := open(t, func(o *Options) { o.StateDir, o.Observer = state, told })
	if diff := cmp.Diff([]string{"live"}, told.runs); diff != "" {
		t.Errorf("the observer was told of (-want +got):\n%s", diff)
	}
	for id, want := range map[string]outcome.Cause{"live": outcome.Lost, "done": outcome.Completed, "broken": outcome.Lost, "renamed": outcome.Lost} {
		r, ok := m.Get(id)
		if !ok {
			t.Errorf("%s: not there", id)
			continue
		}
		verdict(t, r, want)
		if _, err := r.Follow(0).Next(t.Context()); !errors.Is(err, spool.ErrNoReplay) {
			t.Errorf("%s: follow: %v", id, err)
		}
		r.End(outcome.Cancelled)
	}
	onDisk, err := readRecord(m.state.directory("live").storePath(recordName))
	if err != nil || onDisk.State != Finished || onDisk.Cause != outcome.Lost {
		t.Errorf("lost run on disk: %+v, %v", onDisk, err)
	}
	if diff := cmp.Diff([]string{"spool"}, names(t, filepath.Join(state, "runs", "live"))); diff != "" {
		t.Errorf("lost run's scratch (-want +got):\n%s", diff)
	}
	if _, err := m.Start(t.Context(), script("echo 'd stop'", func(s *Spec) { s.ID = "done" })); !errors.Is(err, ErrExists) {
		t.Errorf("id of an earlier run: %v", err)
	}
	if got := m.List(Filter{Client: "c", Limit: 5}); len(got) != 1 || got[0].ID != "live" {
		t.Errorf("listed for c: %+v", got)
	}
}

// losses are the runs an observer is told of that ended unwatched.
type losses struct {
	unobserved
	runs []string
}

func (l *losses) RunFinished(r Record, o outcome.Outcome) {
	if r.Cause == outcome.Lost && o.Started.IsZero() {
		l.runs = append(l.runs, r.ID)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for i := range 10 {
		at := now.Add(-time.Duration(i) * 10 * time.Minute)
		id := fmt.Sprint("r", i)
		past(t, dir, id, Record{ID: id, State: Finished, Created: at, Ended: &at, OutputBytes: 100})
	}
	st, err := openStateDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	m := &Manager{o: Options{Keep: 45 * time.Minute, KeepRuns: 100}.complete(), log: slog.New(slog.DiscardHandler), state: st, pruned: &pruned{}, runs: map[string]*Run{}}
	if err := m.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := m.prune(now); n != 5 {
		t.Errorf("%d pruned by age, want 5", n)
	}
	m.o.KeepBytes = 300
	if n := m.prune(now); n != 2 {
		t.Errorf("%d pruned by size, want 2", n)
	}
	m.o.KeepRuns = 2
	if n := m.prune(now); n != 1 {
		t.Errorf("%d pruned by number, want 1", n)
	}
	if diff := cmp.Diff([]string{"r0", "r1"}, names(t, m.state.runs())); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	var listed []string
	for _, r := range m.List(Filter{}) {
		listed = append(listed, r.ID)
	}
	if diff := cmp.Diff([]string{"r0", "r1"}, listed); diff != "" {
		t.Errorf("listed, newest first (-want +got):\n%s", diff)
	}
}

func TestKeepsFewRuns(t *testing.T) {
	m := open(t, func(o *Options) { o.KeepRuns = 3 })
	var last *Run
	for range 6 {
		last = start(t, m, script("echo 'd stop'"))
		wait(t, "removal", last.done)
	}
	for deadline := time.Now().Add(10 * time.Second); len(names(t, m.state.runs())) > 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d directories are kept, want 3", len(names(t, m.state.runs())))
		}
	}
	if _, ok := m.Get(last.ID()); !ok {
		t.Error("the newest run was pruned")
	}
}

func TestAdaptersFiles(t *testing.T) {
	d := newDirectory(t, nil)
	if err := d.write([]backend.File{{Name: "a/b/c", Data: []byte("1")}, {Name: "a/d", Data: []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/b/c": "1", "a/d": "2"} {
		got, err := os.ReadFile(d.file(name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if info, err := os.Stat(d.file(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, info.Mode())
		}
	}
	if err := os.Symlink(t.TempDir(), d.file("out")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../x", "/x", "a/../../x", "out/x", "a/d"} {
		if err := d.write([]backend.File{{Name: name}}); err == nil {
			t.Errorf("%q was written", name)
		}
	}
}

// A lock that is left stays held while it changes hands, and opens no other
// directory.
func TestLockIsInherited(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	held, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := InheritLock(other, held.state.lock); err == nil {
		t.Error("a lock opens another directory")
	}
	// Inherit has closed it: nobody holds the directory any more.
	held, err = LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := InheritLock(dir, held.state.lock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); err == nil {
		t.Error("another daemon takes an inherited directory")
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
