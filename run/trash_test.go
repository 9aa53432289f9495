package run

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/internal/trash"
	"penstock/outcome"
)

// A session is forgotten whole or not at all, and what can't be deleted is not in
// its place any more.
func TestForgetIsWholeOrNot(t *testing.T) {
	m := open(t)
	turn := func() {
		t.Helper()
		verdict(t, start(t, m, script("echo 's x'; touch mine; echo 'd stop'", inSession("s"))), outcome.Completed)
	}
	turn()
	key := sessionKey("tester", "s")
	places := func() []string { return append(names(t, m.state.sessions()), names(t, m.state.store.sessions())...) }
	before := places()
	inTheWay := filepath.Join(m.state.dir, "trash")
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
	mine := filepath.Join(m.sessions.path(key), workName, "mine")
	if !immutable(t, mine, true) {
		return
	}
	if err := m.Forget("tester", "s"); err != nil {
		t.Errorf("forget a session with a file that can't be deleted: %v", err)
	}
	if left := places(); len(left) != 0 {
		t.Errorf("still in its place: %q", left)
	}
	if left := names(t, filepath.Join(m.state.dir, trash.Name)); len(left) != 1 {
		t.Fatalf("in the trash: %q", left)
	}
	turn()
	_ = filepath.WalkDir(filepath.Join(m.state.dir, trash.Name), func(path string, e fs.DirEntry, _ error) error {
		if e.Name() == "mine" {
			immutable(t, path, false)
		}
		return nil
	})
	m.emptyTrash()
	if left := names(t, filepath.Join(m.state.dir, trash.Name)); len(left) != 0 {
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
func TestCrashLeftoversAreSwept(t *testing.T) {
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
	if diff := cmp.Diff(want, names(t, m.state.sessions())); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"lock", "runs", "sessions", "store", "trash"}, names(t, dir)); diff != "" {
		t.Errorf("state directory (-want +got):\n%s", diff)
	}
	for deadline := time.Now().Add(10 * time.Second); len(names(t, filepath.Join(m.state.dir, trash.Name))) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the trash is never emptied")
		}
	}
}

// Records that are dated ahead push out no run of today, and are no older than
// the daemon that found them.
func TestPruneGoesByOrderNotByDate(t *testing.T) {
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

// Durable runs that were pruned are remembered by their requests, so many of them,
// also by the next daemon, and of a crash in the middle of a line.
func TestPrunedAreRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pruned")
	p, err := openPruned([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	runOf := func(i int) *Run {
		r := newRun(Record{ID: fmt.Sprint("r", i), Client: "c"}, slog.New(slog.DiscardHandler))
		r.fingerprint = []byte{byte(i)}
		return r
	}
	const many = 3*prunedMax + 7
	for i := 0; i < many; i += 100 {
		var batch []*Run
		for j := i; j < min(i+100, many); j++ {
			batch = append(batch, runOf(j))
			p.add(batch[len(batch)-1])
		}
		if err := p.save(batch); err != nil {
			t.Fatal(err)
		}
	}
	plain := newRun(Record{ID: "plain"}, slog.New(slog.DiscardHandler))
	p.add(plain)
	if err := p.save([]*Run{plain}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("torn abc"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	again, err := openPruned([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*pruned{p, again} {
		m := &Manager{pruned: one}
		if len(one.of) != prunedMax || len(one.order) != prunedMax {
			t.Errorf("%d (%d) remembered, want %d", len(one.of), len(one.order), prunedMax)
		}
		for i, want := range map[int]bool{many - 1: true, many - prunedMax: true, many - prunedMax - 1: false} {
			if got := m.Pruned(fmt.Sprint("r", i), "c", []byte{byte(i)}); got != want {
				t.Errorf("r%d: %v", i, got)
			}
		}
		if m.Pruned(fmt.Sprint("r", many-1), "c", []byte("another")) || m.Pruned(fmt.Sprint("r", many-1), "d", []byte{byte((many - 1) % 256)}) {
			t.Error("another request, or another client's, is taken for it")
		}
	}
	next := runOf(many)
	again.add(next)
	if err := again.save([]*Run{next}); err != nil {
		t.Fatal(err)
	}
	if after, err := openPruned([]string{path}); err != nil || after.of[next.id] == "" || len(after.of) != prunedMax {
		t.Errorf("written after a torn line: %d remembered, %v", len(after.of), err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > prunedFileMax {
		t.Errorf("file: %v %v", info, err)
	}
	if _, err := openPruned([]string{filepath.Join(path, "below")}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not a directory: %v", err)
	}
}

// A removal that was cut short, as by a kill of the daemon, leaves no run: not one
// that is lost and can't be read.
func TestRemovalCutShortIsNoRun(t *testing.T) {
	m := open(t)
	r := start(t, m, script("echo 'd stop'"))
	verdict(t, r, outcome.Completed)
	wait(t, "end", r.Ended())
	inTheWay := filepath.Join(m.state.dir, trash.Name)
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.dir.remove(); err == nil {
		t.Fatal("removed, with no way to remove its files")
	}
	if got, err := r.dir.recall(); !errors.Is(err, errNeverStarted) {
		t.Errorf("half removed it is still a run: %+v, %v", got.record, err)
	}
}
