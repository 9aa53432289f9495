package run

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"
)

// reopened is a manager on what an earlier one has left, which is closed first.
func reopened(t *testing.T, state string, first *Manager, between func(store string), change ...func(*Options)) *Manager {
	t.Helper()
	if first != nil {
		// Closed as a daemon that is killed leaves it: nothing of the index is written at the end.
		if err := first.state.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if between != nil {
		between(filepath.Join(state, "store"))
	}
	return open(t, append(change, func(o *Options) {
		o.StateDir = state
		o.Backends = func(string) (backend.Backend, bool) { return agent{}, true }
	})...)
}

// filled is a state directory in which runs have ended, the durable ones by the names
// durable-N, and the others by run-N.
func filled(t *testing.T, n int) (state string) {
	t.Helper()
	state = t.TempDir()
	t.Run("fill", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		for i := range n {
			for id, durable := range map[string]bool{fmt.Sprint("durable-", i): true, fmt.Sprint("run-", i): false} {
				r := start(t, m, script("echo 't "+id+"'; echo 'd stop'", func(s *Spec) { s.ID, s.Durable, s.Fingerprint = id, durable, []byte(id) }))
				wait(t, "its end", r.done)
			}
		}
	})
	return state
}

func said(t *testing.T, m *Manager, id string) string {
	t.Helper()
	r, err := m.Get(id)
	if err != nil {
		return "unknown"
	}
	return text(events(t, r.Follow(0)))
}

// What is kept is read when it is asked for, by the daemon that ran it and by the next.
func TestKept_IsReadAgain(t *testing.T) {
	state := filled(t, 2)
	m := reopened(t, state, nil, nil)
	for _, id := range []string{"run-0", "run-1", "durable-0", "durable-1"} {
		if got := said(t, m, id); got != id {
			t.Errorf("%s said %q", id, got)
		}
		r, _ := m.Get(id)
		if c := r.Record(); c.Cause != outcome.Completed || c.Client != "tester" || c.Receipt == nil {
			t.Errorf("%s: %+v", id, c)
		}
	}
	if all := m.List(Filter{Limit: 3}); len(all) != 3 || all[0].Created.Before(all[2].Created) {
		t.Errorf("listed: %+v", all)
	}
	if got := names(t, m.state.Store.Runs()); len(got) != 2 {
		t.Errorf("with files in the store: %v", got)
	}
}

// A run that was to end with its daemon, and of which that had no time to say so, is lost
// and not unknown.
func TestKept_EndedWithItsDaemon(t *testing.T) {
	state := t.TempDir()
	now := time.Now()
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		d := m.dirFor(Spec{ID: "r"})
		if err := errors.Join(d.Make(nil), m.saveStart(d, Record{ID: "r", State: Running, Client: "c", Created: now, Started: &now})); err != nil {
			t.Fatal(err)
		}
	})
	lost := &losses{}
	m := reopened(t, state, nil, nil, func(o *Options) { o.Observer = lost })
	r, err := m.Get("r")
	if err != nil {
		t.Fatal("unknown")
	}
	verdict(t, r, outcome.Lost)
	if r.Record().Client != "c" || len(lost.runs) != 1 {
		t.Errorf("%+v, heard of %v", r.Record(), lost.runs)
	}
}

// Whatever has become of the index, no durable run is lost, and what only the index knew
// is counted and said.
func TestKept_IndexIsMadeAnew(t *testing.T) {
	const runs = 3
	for name, damage := range map[string]struct {
		do   func(store string) error
		says string
		lost bool
	}{
		"deleted": {func(s string) error { return os.RemoveAll(filepath.Join(s, "history")) }, "only the index knew", true},
		"torn":    {func(s string) error { return os.Truncate(filepath.Join(s, "history", "00000001.log"), 100) }, "only the index knew", true},
		"garbage": {func(s string) error {
			return os.WriteFile(filepath.Join(s, "history", "00000001.log"), bytes.Repeat([]byte("\x00\n"), 4096), 0o600)
		}, "only the index knew", true},
		"a file": {func(s string) error {
			return errors.Join(os.RemoveAll(filepath.Join(s, "history")), os.WriteFile(filepath.Join(s, "history"), nil, 0o600))
		}, "set_aside", true},
		"a link to nothing": {func(s string) error {
			return errors.Join(os.RemoveAll(filepath.Join(s, "history")), os.Symlink("/nowhere", filepath.Join(s, "history")))
		}, "set_aside", true},
		"of a later version": {func(s string) error {
			return os.WriteFile(filepath.Join(s, "history", "00000001.log"), []byte("07037c2d penstock-history 9\n"), 0o600)
		}, "set_aside", true},
		"whole": {func(string) error { return nil }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			state := filled(t, runs)
			if err := damage.do(filepath.Join(state, "store")); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			m := reopened(t, state, nil, nil, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			for i := range runs {
				id := fmt.Sprint("durable-", i)
				if got := said(t, m, id); got != id {
					t.Errorf("%s said %q", id, got)
				}
				if _, err := m.Get(fmt.Sprint("run-", i)); (err == nil) == damage.lost {
					t.Errorf("run-%d: %v", i, err)
				}
			}
			if !bytes.Contains(log.Bytes(), []byte(damage.says)) || damage.lost && !bytes.Contains(log.Bytes(), []byte("runs=3")) {
				t.Errorf("the log: %s", &log)
			}
			if got := names(t, m.state.Runs()); damage.lost && len(got) != runs {
				t.Errorf("left: %v", got)
			}
		})
	}
}

// The files hold, not an index that is older: not for a run that came after it, not for
// one that has gone, and not where a daemon without an index has used an id anew.
func TestKept_FilesAreNewerThanTheIndex(t *testing.T) {
	state := filled(t, 3)
	index, runs := filepath.Join(state, "store", "history"), filepath.Join(state, "store", "runs")
	started := time.Now()
	if err := errors.Join(
		os.CopyFS(filepath.Join(runs, "durable-9"), os.DirFS(filepath.Join(runs, "durable-0"))),
		os.RemoveAll(filepath.Join(runs, "durable-1")),
		// As the version before would: its start sweeps the file that says that none was here.
		os.Remove(filepath.Join(filepath.Dir(index), ".new-history")),
		os.WriteFile(filepath.Join(runs, "durable-2", "run.json"), fmt.Appendf(nil, `{"id":"durable-2","object":"run","state":"running","started_at":%q}`, started.Format(time.RFC3339)), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	m := reopened(t, state, nil, nil)
	for _, id := range []string{"durable-0", "durable-2", "durable-9", "run-0"} {
		r, err := m.Get(id)
		if err != nil {
			t.Errorf("%s: not there", id)
			continue
		}
		if id == "durable-2" && r.Record().Ended.Before(started.Truncate(time.Second)) {
			t.Error("durable-2 is the one that the index had")
		}
	}
	if _, err := m.Get("durable-1"); err == nil {
		t.Error("durable-1 is known, and its files have gone")
	}
	if got := m.List(Filter{}); len(got) != 6 {
		t.Errorf("%d listed", len(got))
	}
}

// While the index is made anew a run is found by its files, its id is taken, and a list
// says that it is incomplete.
func TestKept_FoundWhileIndexed(t *testing.T) {
	state := filled(t, 2)
	m := reopened(t, state, nil, nil)
	if err := m.state.History.Remove("durable-0", "durable-1"); err != nil {
		t.Fatal(err)
	}
	m.complete.Store(false)
	m.state.Survey.Unindexed = []string{"durable-0", "durable-1"}
	if got := said(t, m, "durable-0"); got != "durable-0" || m.Complete() {
		t.Errorf("it said %q", got)
	}
	if _, err := m.Get("none"); !errors.Is(err, fs.ErrNotExist) || m.Has("none") || !m.Has("durable-0") {
		t.Error("what isn't there is found, or the other way about")
	}
	if _, err := m.Start(t.Context(), script("echo", func(s *Spec) { s.ID, s.Durable = "durable-0", true })); !errors.Is(err, ErrExists) {
		t.Errorf("its id: %v", err)
	}
	if n := m.prune(time.Now().Add(1000 * time.Hour)); n != 0 {
		t.Errorf("%d pruned, and which are the oldest isn't known", n)
	}
	if got := m.List(Filter{}); len(got) != 2 {
		t.Errorf("%d listed", len(got))
	}
	m.rebuild()
	if got := m.List(Filter{}); len(got) != 4 || !m.Complete() {
		t.Errorf("%d listed when it is complete", len(got))
	}
}

// Runs that can't be put into the index stay found by their files, and a list stays
// incomplete, until they can.
func TestKept_IndexThatTakesNothing(t *testing.T) {
	state := filled(t, 2)
	index := filepath.Join(state, "store", "history")
	t.Run("a file in its place", func(t *testing.T) {
		m := reopened(t, state, nil, nil)
		if err := errors.Join(m.state.History.Remove("durable-0"), m.state.History.Close(), os.RemoveAll(index), os.WriteFile(index, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		m.complete.Store(false)
		m.state.Survey.Unindexed = []string{"durable-0"}
		over := make(chan struct{})
		m.chores.Go(func() { m.rebuild(); close(over) })
		select {
		case <-over:
			t.Error("it is over")
		case <-time.After(200 * time.Millisecond):
		}
		if got := said(t, m, "durable-0"); got != "durable-0" || m.Complete() {
			t.Errorf("it said %q, complete: %v", got, m.Complete())
		}
	})
	m := reopened(t, state, nil, nil)
	if got := said(t, m, "durable-0"); got != "durable-0" || !m.Complete() || !m.state.History.Has("durable-0") {
		t.Errorf("it said %q, complete: %v", got, m.Complete())
	}
}

// A run that is kept, and whose record in the index is damaged, is lost and not unknown.
func TestKept_RecordDamaged(t *testing.T) {
	state := filled(t, 1)
	m := reopened(t, state, nil, nil)
	if err := os.WriteFile(filepath.Join(state, "store", "history", "00000001.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := m.Get("run-0")
	if err != nil {
		t.Fatal("unknown")
	}
	verdict(t, r, outcome.Lost)
	if got := m.List(Filter{Client: "tester"}); len(got) != 2 {
		t.Errorf("listed: %+v", got)
	}
}

// What can't be read for want of a descriptor is not left out of a list in silence.
func TestKept_ListThatCantBeRead(t *testing.T) {
	m := reopened(t, filled(t, 2), nil, nil)
	if got, whole := m.TryList(Filter{}); len(got) != 4 || !whole {
		t.Fatalf("%d listed, whole: %v", len(got), whole)
	}
	got, whole := 0, true
	withoutDescriptors(t, func() {
		var records []Record
		records, whole = m.TryList(Filter{})
		got = len(records)
	})
	if got != 0 || whole {
		t.Errorf("without descriptors: %d listed, whole: %v", got, whole)
	}
}

// Of a daemon without an index there may be many: the next one is ready before it has
// looked at all, and in the end has all of them, also where it was closed in between.
func TestKept_ManyOfADaemonWithoutAnIndex(t *testing.T) {
	const runs = 2 * rebuildSync
	state := t.TempDir()
	st, err := store.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Now().Add(-time.Minute)
	for i := range runs {
		d := st.Run(fmt.Sprint("r", i))
		if err := errors.Join(d.Make(nil), d.Save(Record{ID: fmt.Sprint("r", i), Object: store.Object, State: Finished, Cause: outcome.Completed, Created: ended, Ended: &ended})); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("closed at once", func(t *testing.T) {
		if _, err := open(t, func(o *Options) { o.StateDir = state }).Get("r7"); err != nil {
			t.Error("not found by its files")
		}
	})
	m := open(t, func(o *Options) { o.StateDir = state })
	for deadline := time.Now().Add(30 * time.Second); !m.Complete(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never complete")
		}
	}
	if got := m.List(Filter{}); len(got) != runs {
		t.Errorf("%d listed of %d", len(got), runs)
	}
}

// A run whose output was changed under its name can't be read later either, though its
// object is gone.
func TestKept_TamperedStaysSo(t *testing.T) {
	m := open(t)
	r := start(t, m, script(": > /dev/stdout; echo 't a'; echo 'd stop'", func(s *Spec) { s.Argv[2] = "exec 9>" + "$TMPDIR/../spool; " + s.Argv[2] }))
	wait(t, "its end", r.done)
	again, err := m.Get(r.ID())
	if err != nil || again == r {
		t.Fatal("not made of what is kept")
	}
	_, first := r.Follow(0).Next(t.Context())
	_, second := again.Follow(0).Next(t.Context())
	if errors.Is(first, spool.ErrTampered) != errors.Is(second, spool.ErrTampered) {
		t.Errorf("%v, then %v", first, second)
	}
}

// Runs are removed in batches: at the cap not with each end.
func TestPrune_InBatches(t *testing.T) {
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	m := &Manager{o: Options{KeepRuns: 40, KeepBytes: 1}, log: slog.New(slog.DiscardHandler), state: st, full: make(chan struct{}, 1)}
	ended := time.Now()
	most := 0
	for i := range 60 {
		r := newRun(finished, Record{ID: fmt.Sprint("r", i), State: Finished, Created: ended, Ended: &ended}, m.log)
		if err := m.saveEnd(m.state.Indexed(r.id), r.Record(), nil); err != nil {
			t.Fatal(err)
		}
		r.announce()
		m.keep(r)
		n, _ := m.state.History.Runs()
		if most == 0 && len(m.full) > 0 {
			most = n
		}
	}
	if most != 43 { // two more than 40 are a twentieth
		t.Errorf("asked to remove at %d of 40", most)
	}
}
