package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"
)

func discarded(id string, kept bool) func(*Spec) {
	return func(s *Spec) {
		asking(id, kept, "asked")(s)
		s.Discard = true
	}
}

func agents(o *Options) {
	o.Backends = func(string) (backend.Backend, bool) { return agent{}, true }
}

// onlyTheRecord wants no more than that of a run.
func onlyTheRecord(t *testing.T, m *Manager, id string, want Record) {
	t.Helper()
	r, err := m.Get(id)
	if err != nil {
		t.Errorf("%s: %v", id, err)
		return
	}
	if diff := cmp.Diff(want, r.Record()); diff != "" {
		t.Errorf("%s: its record (-want +got):\n%s", id, diff)
	}
	if _, err := r.Follow(0).Next(t.Context()); !errors.Is(err, spool.ErrPruned) {
		t.Errorf("%s: read: %v", id, err)
	}
	if want.Durable && string(r.Fingerprint()) != id {
		t.Errorf("%s: fingerprint %q", id, r.Fingerprint())
	}
	if _, err := m.Asked(id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: asked: %v", id, err)
	}
	if left := names(t, m.state.Runs()); len(left) != 0 {
		t.Errorf("%s: left %q", id, left)
	}
	if left := names(t, filepath.Join(m.state.Path, "store", "discard")); len(left) != 0 {
		t.Errorf("%s: noted still: %q", id, left)
	}
	if runs, bytes := m.state.History.Runs(); runs != 1 || bytes != 0 {
		t.Errorf("%s: %d bytes of %d runs count", id, bytes, runs)
	}
}

// Of a run whose output is discarded no more than the record stays; a reader that has it
// open goes on.
func TestDiscard(t *testing.T) {
	for id, kept := range map[string]bool{"run": false, "durable": true} {
		state := t.TempDir()
		var record Record
		t.Run("first", func(t *testing.T) {
			m := open(t, func(o *Options) { o.StateDir = state })
			r := start(t, m, script("echo 't some'; echo 't text'; echo 'd stop'", discarded(id, kept)))
			wait(t, "its end", r.done)
			reader := r.Follow(0)
			if e, err := reader.Next(t.Context()); err != nil || e.Text != "some" {
				t.Fatalf("%+v, %v", e, err)
			}
			if err := m.DiscardOutput(id); err != nil {
				t.Error(err)
			}
			if got := text(events(t, reader)); got != "text" {
				t.Errorf("%s: an open reader: %q", id, got)
			}
			if _, err := r.Follow(0).Next(t.Context()); !errors.Is(err, spool.ErrPruned) {
				t.Errorf("%s: a later one: %v", id, err)
			}
			loaded, err := m.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			record = loaded.Record()
			if record.Cause != outcome.Completed || record.OutputBytes == 0 || record.Receipt == nil {
				t.Errorf("%s: %+v", id, record)
			}
			onlyTheRecord(t, m, id, record)
			if err := m.DiscardOutput(id); err != nil {
				t.Errorf("%s: again: %v", id, err)
			}
			if err := m.DiscardOutput("unknown"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("unknown: %v", err)
			}
		})
		t.Run("next", func(t *testing.T) { onlyTheRecord(t, reopened(t, state, nil, nil), id, record) })
		// And where the index is made anew of the files.
		m := reopened(t, state, nil, func(store string) {
			if kept {
				_ = os.RemoveAll(filepath.Join(store, "history"))
			}
		})
		onlyTheRecord(t, m, id, record)
		if err := m.Remove(id); err != nil {
			t.Error(err)
		}
	}
}

// The output of a run that lives goes when it has ended, and of one that nothing discards a
// minute later.
func TestDiscard_Later(t *testing.T) {
	for _, asked := range []bool{false, true} {
		m := open(t, agents)
		release := filepath.Join(t.TempDir(), "release")
		r := start(t, m, script("until [ -e "+release+" ]; do sleep 0.01; done; echo 't x'; echo 'd stop'", func(s *Spec) { s.ID, s.Discard = "r", !asked }))
		if asked {
			if err := m.DiscardOutput("r"); err != nil {
				t.Error(err)
			}
		}
		if err := os.WriteFile(release, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wait(t, "its end", r.done)
		if !asked {
			m.discardDue(time.Now())
			if got := said(t, m, "r"); got != "x" {
				t.Errorf("at its end: %q", got)
			}
			m.discardDue(time.Now().Add(2 * discardAfter))
		}
		for end := time.Now().Add(10 * time.Second); len(names(t, filepath.Join(m.state.Path, "store", "discard"))) > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		onlyTheRecord(t, m, "r", r.Record())
	}
}

// Wherever a daemon is killed, the next one does what is left to be done.
func TestDiscard_OfAKilledDaemon(t *testing.T) {
	now := time.Now()
	for _, kept := range []bool{false, true} {
		for name, test := range map[string]struct {
			leave func(m *Manager, d *store.Dir, r Record) error
			gone  bool // the run was never known
		}{
			"noted":    {func(*Manager, *store.Dir, Record) error { return nil }, true},
			"recorded": {func(m *Manager, d *store.Dir, r Record) error { return m.saveStart(d, r) }, false},
			"ended": {func(m *Manager, d *store.Dir, r Record) error {
				r.State, r.Ended, r.Cause = Finished, &now, outcome.Completed
				return m.saveEnd(d, r, &store.Checkpoint{Fingerprint: []byte("r")})
			}, false},
			"said": {func(m *Manager, d *store.Dir, r Record) error {
				r.State, r.Ended, r.Cause = Finished, &now, outcome.Completed
				cp := &store.Checkpoint{Fingerprint: []byte("r"), Record: r, Discarded: true}
				if kept {
					if err := d.SaveCheckpoint(cp); err != nil {
						return err
					}
				}
				return m.saveEnd(d, r, cp)
			}, false},
		} {
			state := t.TempDir()
			t.Run("first", func(t *testing.T) {
				m := open(t, func(o *Options) { o.StateDir = state })
				d := m.dirFor(Spec{ID: "r", Durable: kept})
				r := Record{ID: "r", Object: store.Object, State: Running, Created: now, Started: &now, Durable: kept}
				err := errors.Join(d.Make(nil), d.MarkDiscard(), os.WriteFile(d.File(store.SpoolName), []byte("t x\n"), 0o600))
				if kept && !test.gone {
					err = errors.Join(err, d.SaveCheckpoint(&store.Checkpoint{Fingerprint: []byte("r"), Record: r, Leader: 1 << 22}))
				}
				if err := errors.Join(err, test.leave(m, d, r)); err != nil {
					t.Fatal(err)
				}
			})
			m := reopened(t, state, nil, nil)
			if test.gone {
				if left := names(t, filepath.Join(state, "store", "discard")); len(left) != 0 || m.Has("r") {
					t.Errorf("%s, durable %v: left %q", name, kept, left)
				}
				continue
			}
			if kept {
				if left := names(t, m.state.Runs()); len(left) != 1 {
					t.Errorf("%s: no time for its client to come back: %q", name, left)
				}
				m.discardDue(time.Now().Add(2 * discardAfter))
			}
			r, err := m.Get("r")
			if err != nil {
				t.Fatal(err)
			}
			onlyTheRecord(t, m, "r", r.Record())
		}
	}
}

// Nothing is left of a start that came to nothing, nor of a run that goes before its output
// was to.
func TestDiscard_Forgotten(t *testing.T) {
	m := open(t, agents)
	if _, err := m.Start(t.Context(), script("", discarded("r", false), func(s *Spec) { s.Argv = []string{"/nonexistent/program"} })); err == nil {
		t.Error("started")
	}
	noted := filepath.Join(m.state.Path, "store", "discard")
	if left := names(t, noted); len(left) != 0 || len(m.discards) != 0 {
		t.Errorf("left %q", left)
	}
	wait(t, "its end", start(t, m, script("echo 'd stop'", discarded("r", false))).done)
	if err := m.Remove("r"); err != nil {
		t.Error(err)
	}
	if left := names(t, noted); len(left) != 0 || len(m.discards) != 0 {
		t.Errorf("left %q", left)
	}
	wait(t, "its end", start(t, m, script("echo 't x'; echo 'd stop'", func(s *Spec) { s.ID = "r" })).done)
	m.discardDue(time.Now().Add(2 * discardAfter))
	if r, err := m.Get("r"); err != nil || text(events(t, r.Follow(0))) != "x" {
		t.Errorf("another run of that id: %v", err)
	}
}

// What is discarded, removed and pruned at once is gone, and comes back in no list.
func TestDiscard_AtOnce(t *testing.T) {
	m := open(t, agents)
	for round := range 10 {
		wait(t, "its end", start(t, m, script("echo 'd stop'", discarded("r", round%2 == 0))).done)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := m.DiscardOutput("r"); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := m.Remove("r"); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			})
			all.Go(func() { m.prune(time.Now().Add(2 * time.Hour)) })
			all.Go(func() { m.discardDue(time.Now().Add(2 * discardAfter)) })
		}
		all.Wait()
		if m.Has("r") || m.state.History.Holds("r") || len(m.List(Filter{})) != 0 || len(m.discards) != 0 {
			t.Fatalf("known still: %+v, %v", m.List(Filter{}), m.discards)
		}
	}
}
