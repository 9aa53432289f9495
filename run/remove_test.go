package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/internal/trash"
	"penstock/outcome"
)

// A finished run goes at once with all that is kept of it; a durable one's request is known
// as that of a pruned run's, also to the next daemon.
func TestRemove(t *testing.T) {
	state := t.TempDir()
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		for id, kept := range map[string]bool{"run": false, "durable": true, "other": false} {
			wait(t, "end", start(t, m, script("echo 't x'; echo 'd stop'", asking(id, kept, "x"))).Ended())
			if id == "other" {
				continue
			}
			if err := m.Remove(id); err != nil { // its group may be there still
				t.Errorf("%s: %v", id, err)
			}
			if _, err := m.Get(id); !errors.Is(err, fs.ErrNotExist) || m.Has(id) {
				t.Errorf("%s: known still: %v", id, err)
			}
			if _, err := m.Asked(id); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", id, err)
			}
			if err := m.Remove(id); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, again: %v", id, err)
			}
			if m.Pruned(id, "tester", []byte(id)) != kept || m.Pruned(id, "tester", []byte("another")) {
				t.Errorf("%s: pruned is %v", id, !kept)
			}
		}
		if got := m.List(Filter{}); len(got) != 1 || got[0].ID != "other" {
			t.Errorf("listed: %+v", got)
		}
		if err := m.Remove("never"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("unknown: %v", err)
		}
	})
	m := reopened(t, state, nil, nil)
	if got := m.List(Filter{}); len(got) != 1 || !m.Pruned("durable", "tester", []byte("durable")) {
		t.Errorf("the next daemon lists %+v, pruned %v", got, m.Pruned("durable", "tester", []byte("durable")))
	}
	if got := names(t, m.state.Runs()); len(got) != 1 || len(names(t, m.state.Store.Runs())) != 0 || len(askedFiles(t, m)) != 1 {
		t.Errorf("left: %q %q", got, askedFiles(t, m))
	}
	wait(t, "its end", start(t, m, script("echo 'd stop'", func(s *Spec) { s.ID = "run" })).done) // the id is free again
}

// A run that lives or waits is not removed.
func TestRemove_Live(t *testing.T) {
	m := open(t)
	r := start(t, m, script("sleep 300", inSession("s", func(s *Spec) { s.ID = "live" })))
	ctx, cancel := context.WithCancel(t.Context())
	var waits sync.WaitGroup
	waits.Go(func() { _, _ = m.Start(ctx, script("", inSession("s", func(s *Spec) { s.ID = "waits" }))) })
	awaitState(t, m, "waits", Waiting)
	for _, id := range []string{"live", "waits"} {
		if err := m.Remove(id); !errors.Is(err, ErrLive) || !m.Has(id) {
			t.Errorf("%s: %v", id, err)
		}
	}
	cancel()
	waits.Wait()
	r.End(outcome.Cancelled)
	wait(t, "end", r.Ended())
	if err := m.Remove("live"); err != nil {
		t.Error(err)
	}
}

// Of many removals of a run at once one has done it, also beside others that prune.
func TestRemove_AtOnce(t *testing.T) {
	m := open(t)
	for round := range 10 {
		wait(t, "its end", start(t, m, script("echo 'd stop'", asking("r", round%2 == 0, "x"))).done)
		var done, pruned atomic.Int32
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if i == 0 {
					pruned.Add(int32(m.prune(time.Now().Add(2 * time.Hour))))
					return
				}
				switch err := m.Remove("r"); {
				case err == nil:
					done.Add(1)
				case !errors.Is(err, fs.ErrNotExist):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if done.Load()+pruned.Load() != 1 || m.state.History.Holds("r") {
			t.Errorf("removed by %d, pruned %d", done.Load(), pruned.Load())
		}
	}
}

// What can't be removed is told, and is known still.
func TestRemove_ThatFails(t *testing.T) {
	m := open(t)
	wait(t, "its end", start(t, m, script("echo 'd stop'", asking("r", false, "x"))).done)
	inTheWay := filepath.Join(m.state.Path, trash.Name)
	if err := errors.Join(os.RemoveAll(inTheWay), os.WriteFile(inTheWay, nil, 0o600), os.Mkdir(filepath.Join(m.dirOf("r"), "more"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove("r"); err == nil || errors.Is(err, fs.ErrNotExist) || !m.Has("r") {
		t.Errorf("%v, known %v", err, m.Has("r"))
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove("r"); err != nil || m.Has("r") {
		t.Errorf("%v, known %v", err, m.Has("r"))
	}
}

// A removal that was cut short by a kill of the daemon can be asked for again.
func TestRemove_CutShort(t *testing.T) {
	state := filled(t, 1)
	m := reopened(t, state, nil, nil)
	if err := m.state.Indexed("run-0").Remove(); err != nil { // and the index has it still
		t.Fatal(err)
	}
	if err := m.Remove("run-0"); err != nil || m.Has("run-0") {
		t.Errorf("%v, known %v", err, m.Has("run-0"))
	}
}

// A run whose record there was no room for goes as any other.
func TestRemove_Unsaved(t *testing.T) {
	m := open(t)
	now := time.Now()
	for _, kept := range []bool{false, true} {
		d := m.dirFor(Spec{ID: "r", Durable: kept})
		if err := errors.Join(d.Make(nil), d.SaveAsked([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		r := newFinishedRun(d, Record{ID: "r", State: Finished, Client: "tester", Durable: kept, Created: now, Ended: &now}, m.log)
		r.fingerprint = []byte("f")
		m.saveLater(r, func() error { return errDisk })
		m.addLive(r)
		if err := m.Remove("r"); err != nil || m.Has("r") || len(askedFiles(t, m)) != 0 || len(names(t, m.state.Runs())) != 0 {
			t.Errorf("durable %v: %v, known %v, left %q", kept, err, m.Has("r"), askedFiles(t, m))
		}
		if m.Pruned("r", "tester", []byte("f")) != kept {
			t.Errorf("durable %v: pruned is %v", kept, !kept)
		}
	}
}

// While the index is made anew a run that it doesn't know yet stays.
func TestRemove_WhileIndexed(t *testing.T) {
	m := reopened(t, filled(t, 1), nil, nil)
	if err := m.state.History.Remove("durable-0"); err != nil {
		t.Fatal(err)
	}
	m.complete.Store(false)
	if err := m.Remove("durable-0"); err == nil || errors.Is(err, fs.ErrNotExist) || !m.Has("durable-0") {
		t.Errorf("%v", err)
	}
	m.state.Survey.Unindexed = []string{"durable-0"}
	m.rebuild()
	if err := m.Remove("durable-0"); err != nil || m.Has("durable-0") {
		t.Errorf("indexed: %v", err)
	}
}
