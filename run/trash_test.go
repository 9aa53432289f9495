package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/internal/trash"
	"penstock/outcome"
	"penstock/run/store"
)

// A session is forgotten whole or not at all, and what can't be deleted is not in
// its place any more.
func TestForget_IsWholeOrNot(t *testing.T) {
	m := open(t)
	turn := func() {
		t.Helper()
		verdict(t, start(t, m, script("echo 's x'; touch mine; echo 'd stop'", inSession("s"))), outcome.Completed)
	}
	turn()
	key := sessionKey("tester", "s")
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
	mine := filepath.Join(m.sessions.path(key), store.WorkName, "mine")
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

// What a crash has left of a removal, of a session's making or of a write goes at
// the next start; what can't be understood stays.
func TestOpen_SweepsWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	whole, half, torn := sessionKey("c", "whole"), sessionKey("c", "half"), sessionKey("c", "torn")
	for _, d := range []string{"sessions/" + whole, "sessions/" + half + "/work", "sessions/" + torn, "sessions/other", "trash/x/y"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"sessions/" + whole + ".json": `{"client":"c","session":"whole","updated":"` + time.Now().UTC().Format(time.RFC3339) + `"}`, "sessions/" + torn + ".json": "{",
		"sessions/.new-1": "", ".new-2": "", ".probe-3": "", ".penstock-check-4": "", "trash/x/y/z": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, func(o *Options) { o.StateDir = dir })
	want := []string{whole, torn, "other"}
	slices.Sort(want)
	if diff := cmp.Diff(want, names(t, m.state.Sessions())); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"lock", "runs", "sessions", "store", "trash"}, names(t, dir)); diff != "" {
		t.Errorf("state directory (-want +got):\n%s", diff)
	}
	for deadline := time.Now().Add(10 * time.Second); len(names(t, filepath.Join(m.state.Path, trash.Name))) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the trash is never emptied")
		}
	}
}

// Records that are dated ahead push out no run of today, and are no older than
// the daemon that found them.
func TestPrune_ByOrderNotByDate(t *testing.T) {
	dir := t.TempDir()
	ahead := time.Now().Add(10 * 365 * 24 * time.Hour)
	for i := range 3 {
		at := ahead.Add(time.Duration(i) * time.Minute)
		id := fmt.Sprint("ahead-", i)
		past(t, dir, id, Record{ID: id, State: Finished, Created: at, Ended: &at})
	}
	m := open(t, func(o *Options) { o.StateDir, o.KeepRuns = dir, 3 })
	var last *Run
	for i := range 2 {
		last = start(t, m, script("echo 'd stop'", func(s *Spec) { s.ID = fmt.Sprint("today-", i) }))
		wait(t, "removal", last.done)
	}
	for deadline := time.Now().Add(10 * time.Second); len(m.List(Filter{})) > 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is pruned")
		}
	}
	var kept []string
	for _, r := range m.List(Filter{}) {
		kept = append(kept, r.ID)
	}
	if diff := cmp.Diff([]string{"today-1", "today-0", "ahead-2"}, kept); diff != "" {
		t.Errorf("kept, newest first (-want +got):\n%s", diff)
	}
	if n := m.prune(time.Now().Add(2 * time.Hour)); n != 3 {
		t.Errorf("%d pruned by age, want 3", n)
	}
}

// A removal that was cut short, as by a kill of the daemon, leaves no run: not one
// that is lost and can't be read.
func TestDir_RemovalCutShortIsNoRun(t *testing.T) {
	m := open(t)
	r := start(t, m, script("echo 'd stop'"))
	verdict(t, r, outcome.Completed)
	wait(t, "end", r.Ended())
	inTheWay := filepath.Join(m.state.Path, trash.Name)
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.dir.Remove(); err == nil {
		t.Fatal("removed, with no way to remove its files")
	}
	if got, err := r.dir.Recall(); !errors.Is(err, store.ErrNeverStarted) {
		t.Errorf("half removed it is still a run: %+v, %v", got.Record, err)
	}
}
