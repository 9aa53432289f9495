package run

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/internal/trash"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
)

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for i := range 10 {
		at := now.Add(-time.Duration(i) * 10 * time.Minute)
		id := fmt.Sprint("r", i)
		past(t, dir, id, Record{ID: id, State: Finished, Created: at, Ended: &at, OutputBytes: 100})
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	m := &Manager{o: Options{Keep: 45 * time.Minute, KeepRuns: 100}.complete(), log: slog.New(slog.DiscardHandler), state: st, pruned: &store.Pruned{}, sessions: &sessions.Registry{}}
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
	if diff := cmp.Diff([]string{"r0", "r1"}, names(t, m.state.Runs())); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	var kept []string
	for _, r := range m.List(Filter{}) {
		kept = append(kept, r.ID)
	}
	if diff := cmp.Diff([]string{"r0", "r1"}, kept); diff != "" {
		t.Errorf("listed, newest first (-want +got):\n%s", diff)
	}
}

func TestPrune_KeepsFewRuns(t *testing.T) {
	m := open(t, func(o *Options) { o.KeepRuns = 3 })
	var last *Run
	for range 6 {
		last = start(t, m, script("echo 'd stop'"))
		wait(t, "removal", last.done)
	}
	for deadline := time.Now().Add(10 * time.Second); len(names(t, m.state.Runs())) > 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d directories are kept, want 3", len(names(t, m.state.Runs())))
		}
	}
	if _, err := m.Get(last.ID()); err != nil {
		t.Error("the newest run was pruned")
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

func TestPrune_KeepsWhatItCannotRemove(t *testing.T) {
	m := open(t)
	r := start(t, m, script("echo 'd stop'"))
	wait(t, "removal", r.done)
	inTheWay := filepath.Join(m.state.Path, trash.Name) // no trash: what has more in it than its outputs can't be removed
	if err := errors.Join(os.RemoveAll(inTheWay), os.WriteFile(inTheWay, nil, 0o600), os.Mkdir(filepath.Join(m.dirOf(r.ID()), "more"), 0o700)); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(2 * time.Hour)
	if n := m.prune(now); n != 0 {
		t.Errorf("%d pruned", n)
	}
	if _, err := m.Get(r.ID()); err != nil {
		t.Error("forgotten, with its files on disk")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if n := m.prune(now.Add(time.Minute)); n != 0 {
		t.Errorf("%d pruned, tried again at once", n)
	}
	if n := m.prune(now.Add(2 * removeEvery)); n != 1 {
		t.Errorf("%d pruned, want 1", n)
	}
}

// A run whose group is still there is not pruned, though its record says that it has ended.
func TestPrune_SparesTheLive(t *testing.T) {
	m := open(t)
	r := newRun(finished, Record{ID: "r", State: Finished}, m.log)
	m.mu.Lock()
	m.live[r.id] = r
	m.mu.Unlock()
	if err := m.saveEnd(m.state.Indexed("r"), r.Record(), nil); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(2 * time.Hour)
	if old := m.takeExpired(later, 1<<40, 0); len(old) != 0 {
		t.Errorf("%d pruned", len(old))
	}
	r.announce()
	m.keep(r)
	if old := m.takeExpired(later, 1<<40, 0); len(old) != 1 {
		t.Errorf("%d pruned, want 1", len(old))
	}
}

func TestSession_UnusedExpire(t *testing.T) {
	m := open(t, func(o *Options) { o.KeepSessions = time.Hour })
	verdict(t, start(t, m, script("echo 's x'; echo 'd stop'", inSession("old"))), outcome.Completed)
	later := time.Now().Add(2 * time.Hour)
	turn, err := m.LockSession(t.Context(), "tester", "old", nil)
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

// A removal that was cut short, as by a kill of the daemon, leaves no run: not one
// that is lost and can't be read.
func TestDir_RemovalCutShortIsNoRun(t *testing.T) {
	m := open(t)
	r := start(t, m, script("echo 'd stop'", func(s *Spec) { s.Durable = true }))
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
