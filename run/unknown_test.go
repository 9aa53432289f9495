package run

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
)

// A run that can't be read for want of descriptors is not one that isn't there, and a list
// without it is no whole one.
func TestKept_UnreadableIsNotGone(t *testing.T) {
	state := filled(t, 1)
	m := reopened(t, state, nil, nil)
	withoutDescriptors(t, func() {
		for _, id := range []string{"run-0", "durable-0"} {
			if _, err := m.Get(id); !errors.Is(err, unix.EMFILE) {
				t.Errorf("%s: %v", id, err)
			}
		}
		if _, err := m.Get("none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("one that there is not: %v", err)
		}
		if all, whole := m.TryList(Filter{}); whole {
			t.Errorf("a whole list of %d", len(all))
		}
	})
	if all, whole := m.TryList(Filter{}); len(all) != 2 || !whole {
		t.Errorf("then %d listed, whole: %v", len(all), whole)
	}
}

// unsettled leaves a durable run that an earlier daemon has started, and of which there is
// some output, and one that isn't durable.
func unsettled(t *testing.T) (state string) {
	t.Helper()
	state = filled(t, 1)
	now := time.Now()
	path := filepath.Join(state, "store", "runs", "durable-0", "run.json")
	r, err := recordOnDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	r.State, r.Cause, r.Ended = Running, "", nil
	if err := store.WriteJSON([]string{path}, r, store.SmallMax, nil); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	d := st.Indexed("begun")
	text := fmt.Appendf(nil, `{"record":{"id":"begun","object":"run","state":"running","client":"tester","started_at":%q}}`, now.Format(time.RFC3339))
	err = errors.Join(d.Make(nil), os.WriteFile(d.File(store.SpoolName), []byte("t x\n"), 0o600), st.History.Begin("begun", text))
	// As a daemon without an index would leave it.
	if err = errors.Join(err, os.Remove(filepath.Join(state, "store", ".new-history"))); err != nil {
		t.Fatal(err)
	}
	return state
}

// What the end of a run can't be written to, as on a full disk, loses nothing of it: neither
// its output nor what is known of it, and it is written once that is possible.
func TestRecover_EndThatCannotBeWritten(t *testing.T) {
	for name, sabotage := range map[string]func(store string) (undo func() error, err error){
		"index": func(s string) (func() error, error) {
			index := filepath.Join(s, "history")
			return func() error { return os.Remove(index) }, errors.Join(os.RemoveAll(index), os.WriteFile(index, nil, 0o600))
		},
		"record": func(s string) (func() error, error) {
			run := filepath.Join(s, "runs", "durable-0", "run.json")
			// A directory takes no file's place, and the checkpoint has what a record lacks then.
			// The manager may try again on its own as soon as that has gone.
			return func() error { return os.RemoveAll(run) }, errors.Join(os.Remove(run), os.MkdirAll(filepath.Join(run, "x"), 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := unsettled(t)
			lock, err := store.LockDir(state)
			if err != nil {
				t.Fatal(err)
			}
			if name == "record" {
				// The checkpoint is of a process that was started.
				cp := filepath.Join(state, "store", "runs", "durable-0", "checkpoint.json")
				text, err := os.ReadFile(cp)
				if text = bytes.Replace(text, []byte(`"leader":`), []byte(`"was":`), 1); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(cp, bytes.Replace(text, []byte("{"), []byte(`{"leader":999999999,`), 1), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			undo, err := sabotage(filepath.Join(state, "store"))
			if err != nil {
				t.Fatal(err)
			}
			m := open(t, func(o *Options) {
				o.StateDir, o.Lock = state, lock
				o.Backends = func(string) (backend.Backend, bool) { return agent{}, true }
			})
			want := []string{"durable-0", "run-0"}
			if name == "index" {
				want = []string{"begun", "durable-0", "run-0"}
			}
			look := func() {
				t.Helper()
				for _, id := range want {
					if _, err := m.Get(id); err != nil {
						t.Errorf("%s: %v", id, err)
					}
				}
				if got := said(t, m, "durable-0"); got != "durable-0" {
					t.Errorf("it said %q", got)
				}
				if got := names(t, m.state.Runs()); !slices.Contains(got, "durable-0") {
					t.Errorf("left: %v", got)
				}
			}
			look()
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			m.retrySaves()
			look()
			if r, err := recordOnDisk(filepath.Join(state, "store", "runs", "durable-0", "run.json")); err != nil || r.State != Finished {
				t.Errorf("on disk: %+v, %v", r, err)
			}
			if len(m.Live()) != 0 || !m.state.History.Has("durable-0") {
				t.Errorf("%d live, in the index: %v", len(m.Live()), m.state.History.Has("durable-0"))
			}
		})
	}
}

// A finished run that can't be put into the index doesn't keep the daemon from its start.
func TestRecover_FinishedButNotIndexed(t *testing.T) {
	state := filled(t, 1)
	lock, err := store.LockDir(state)
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(state, "store", "history")
	if err := errors.Join(lock.State.History.Remove("durable-0"), os.RemoveAll(index), os.WriteFile(index, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	lock.State.Survey.Unsettled = []string{"durable-0"} // its record begins in another way, such as a torn one
	m := open(t, func(o *Options) {
		o.StateDir, o.Lock = state, lock
		o.Backends = func(string) (backend.Backend, bool) { return agent{}, true }
	})
	if got := said(t, m, "durable-0"); got != "durable-0" || m.complete.Load() {
		t.Errorf("it said %q, complete: %v", got, m.complete.Load())
	}
}

// A run that has begun, and whose line can't be read now, stays what it is.
func TestRecover_BegunButUnreadable(t *testing.T) {
	state := unsettled(t)
	m := reopened(t, state, nil, nil, func(o *Options) { o.Keep = time.Hour })
	if err := m.state.History.Begin("later", []byte(`{"record":{"id":"later","client":"tester"}}`)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.dirOf("later"), 0o700); err != nil {
		t.Fatal(err)
	}
	withoutDescriptors(t, func() { m.concludeBegun("later") })
	m.sweepUnknown()
	if got := names(t, m.state.Runs()); !slices.Contains(got, "later") {
		t.Errorf("left: %v", got)
	}
	m.concludeBegun("later")
	r, err := m.Get("later")
	if err != nil {
		t.Fatal(err)
	}
	if verdict(t, r, outcome.Lost); r.Record().Client != "tester" {
		t.Errorf("%+v", r.Record())
	}
}

// A run's request is known after its removal, also where the index can't tell it: it is not
// run again because it comes late. One that can't be read now is not removed.
func TestPrune_RequestIsRemembered(t *testing.T) {
	state := filled(t, 1)
	m := reopened(t, state, nil, nil)
	later := time.Now().Add(2 * time.Hour)
	withoutDescriptors(t, func() {
		if old := m.takeExpired(later, 0, 0); slices.ContainsFunc(idsOf(old), func(id string) bool { return id == "durable-0" }) {
			t.Error("it is to be removed, and what it was asked isn't known")
		}
	})
	if err := os.Truncate(filepath.Join(state, "store", "history", "00000001.log"), 100); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, 2 * removeEvery} {
		m.prune(later.Add(after))
	}
	if m.Has("durable-0") || !m.Pruned("durable-0", "tester", []byte("durable-0")) {
		t.Errorf("kept: %v, remembered: %v", m.Has("durable-0"), m.Pruned("durable-0", "tester", []byte("durable-0")))
	}
}

// An id whose run is being removed is not free before the index has forgotten it: the
// removal would take the new run out of it, and a later daemon take that for the old one.
func TestStart_IDOfOneBeingRemoved(t *testing.T) {
	state := filled(t, 1)
	m := reopened(t, state, nil, nil)
	again := script("echo 'd stop'", func(s *Spec) { s.ID, s.Durable, s.Fingerprint = "durable-0", true, []byte("another") })
	old := m.takeExpired(time.Now().Add(2*time.Hour), 0, 0)
	if len(old) != 2 {
		t.Fatalf("%d to be removed", len(old))
	}
	if err := m.state.Run("durable-0").Remove(); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Start(t.Context(), again); !errors.Is(err, ErrExists) {
		t.Errorf("started amid the removal: %v", err)
		wait(t, "its end", r.done)
	}
	if err := m.state.History.Remove(idsOf(old)...); err != nil {
		t.Fatal(err)
	}
	r := start(t, m, again)
	wait(t, "its end", r.done)
	if _, err := m.Get("durable-0"); err != nil {
		t.Error(err)
	}
}

// However many directories there are of which nothing is known, a start looks at few of them,
// and an end waits for none.
func TestSweepUnknown_IsBounded(t *testing.T) {
	m := open(t)
	const dirs = rebuildSync + 10
	for i := range dirs {
		if err := os.Mkdir(m.dirOf(fmt.Sprint("unknown-", i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	left := func() int {
		return len(slices.DeleteFunc(names(t, m.state.Runs()), func(n string) bool { return !strings.HasPrefix(n, "unknown-") }))
	}
	ending := &Manager{log: m.log, state: m.state, quit: make(chan struct{})}
	close(ending.quit)
	if ending.sweepUnknown(); left() != dirs {
		t.Errorf("%d left by one that ends", left())
	}
	if more := m.sweepSome(rebuildSync); !more || left() != 10 {
		t.Errorf("%d left, more: %v", left(), more)
	}
	if m.sweepUnknown(); left() != 0 {
		t.Errorf("%d left in the end", left())
	}
}
