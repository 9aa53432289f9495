package run

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/internal/trash"
	"penstock/outcome"
	"penstock/run/store"
)

func asking(id string, kept bool, asked string) func(*Spec) {
	return func(s *Spec) { s.ID, s.Durable, s.Fingerprint, s.Asked = id, kept, []byte(id), []byte(asked) }
}

// askedFiles are those that are kept of what was asked.
func askedFiles(t *testing.T, m *Manager) (out []string) {
	t.Helper()
	_ = filepath.WalkDir(filepath.Join(m.state.Path, "store"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && (e.Name() == "asked" || filepath.Base(filepath.Dir(path)) == "asked") {
			out = append(out, path)
		}
		return err
	})
	return out
}

// What a client asked is there before the run's process is, as long as the record, and
// counts for what is kept of outputs.
func TestAsked_KeptWithTheRun(t *testing.T) {
	const asked = "what was asked\x00"
	for _, kept := range []bool{false, true} {
		state := t.TempDir()
		t.Run("first", func(t *testing.T) {
			m := open(t, func(o *Options) { o.StateDir = state })
			dir := t.TempDir()
			file := filepath.Join(state, "store", "asked", "r")
			if kept {
				file = filepath.Join(state, "store", "runs", "r", "asked")
			}
			r := start(t, m, script(`[ -s `+file+` ] && echo "t there"; touch `+dir+`/on; until [ -e `+dir+`/go ]; do sleep 0.01; done; echo "d stop"`, asking("r", kept, asked)))
			await(t, filepath.Join(dir, "on"))
			if got, err := m.Asked("r"); err != nil || string(got) != asked {
				t.Errorf("durable %v: of a live run: %q, %v", kept, got, err)
			}
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			wait(t, "its end", r.done)
			if text(events(t, r.Follow(0))) != "there" {
				t.Errorf("durable %v: not there when its process was", kept)
			}
			record := r.Record()
			if _, bytes := m.state.History.Runs(); bytes != record.OutputBytes+int64(len(asked)) || record.OutputBytes == 0 {
				t.Errorf("durable %v: %d bytes count, of %d of output", kept, bytes, record.OutputBytes)
			}
			none := start(t, m, script("echo 'd stop'", func(s *Spec) { s.ID, s.Durable = "none", kept }))
			wait(t, "its end", none.done)
			if got := askedFiles(t, m); !cmp.Equal(got, []string{file}) {
				t.Errorf("durable %v: files %q", kept, got)
			}
			for _, id := range []string{"none", "unknown", "", "..", "../runs/r"} {
				if got, err := m.Asked(id); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("durable %v: of %q: %q, %v", kept, id, got, err)
				}
			}
		})
		m := reopened(t, state, nil, nil)
		if got, err := m.Asked("r"); err != nil || string(got) != asked {
			t.Errorf("durable %v: by the next daemon: %q, %v", kept, got, err)
		}
		if err := os.Truncate(askedFiles(t, m)[0], 12); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Asked("r"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("durable %v: torn: %q, %v", kept, got, err)
		}
	}
}

// Whatever removes a run removes what was asked, by the daemon that ran it and by the next.
func TestAsked_RemovedWithTheRun(t *testing.T) {
	for name, test := range map[string]struct {
		keep   func(*Options)
		remove func(m *Manager)
		left   int
	}{
		"age":      {func(*Options) {}, func(m *Manager) { m.prune(time.Now().Add(2 * time.Hour)) }, 0},
		"number":   {func(o *Options) { o.KeepRuns = 1 }, func(*Manager) {}, 1},
		"its size": {func(o *Options) { o.KeepBytes = 3000 }, func(*Manager) {}, 1},
		"room":     {func(*Options) {}, func(m *Manager) { m.pruneFor(time.Now(), 1<<40, 0) }, 0},
	} {
		for _, again := range []bool{false, true} {
			state := t.TempDir()
			fill := func(t *testing.T, keep func(*Options)) *Manager {
				m := open(t, keep, func(o *Options) { o.StateDir = state })
				for id, kept := range map[string]bool{"a": false, "b": true} {
					wait(t, "its end", start(t, m, script("echo 'd stop'", asking(id, kept, string(make([]byte, 2000))))).done)
				}
				return m
			}
			var m *Manager
			if again {
				t.Run("fill", func(t *testing.T) { fill(t, func(*Options) {}) })
				m = reopened(t, state, nil, nil, test.keep)
			} else {
				m = fill(t, test.keep)
			}
			test.remove(m)
			for end := time.Now().Add(10 * time.Second); len(askedFiles(t, m)) != test.left; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("%s, by the next daemon %v: left %q", name, again, askedFiles(t, m))
					break
				}
			}
		}
	}
}

// A start that comes to nothing leaves nothing, and what is too large isn't started.
func TestAsked_OfNoRun(t *testing.T) {
	for _, kept := range []bool{false, true} {
		m := open(t)
		for name, s := range map[string]Spec{
			"no program": script("", asking("r", kept, "x"), func(s *Spec) { s.Argv = []string{"/nonexistent/program"} }),
			"too large":  script("", asking("r", kept, string(make([]byte, store.AskedMax+1)))),
		} {
			if _, err := m.Start(t.Context(), s); err == nil {
				t.Errorf("durable %v, %s: started", kept, name)
			}
			if got := askedFiles(t, m); len(got) != 0 || len(names(t, m.state.Runs())) != 0 {
				t.Errorf("durable %v, %s: left %q", kept, name, got)
			}
		}
		r := start(t, m, script("echo 'd stop'", asking("r", kept, string(bytes.Repeat([]byte("x"), store.AskedMax)))))
		verdict(t, r, outcome.Completed)
		if got, err := m.Asked("r"); err != nil || len(got) != store.AskedMax {
			t.Errorf("durable %v, as large as may be: %d, %v", kept, len(got), err)
		}
	}
}

// Wherever a daemon is killed, what was asked is there for a run that is known, and for no
// other.
func TestAsked_OfAKilledDaemon(t *testing.T) {
	state := t.TempDir()
	now := time.Now()
	record := func(id string) Record {
		return Record{ID: id, Object: store.Object, State: Running, Created: now, Started: &now}
	}
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		place := func(id string, kept bool) *store.Dir {
			d := m.dirFor(Spec{ID: id, Durable: kept})
			if err := errors.Join(d.Make(nil), d.SaveAsked([]byte(id))); err != nil {
				t.Fatal(err)
			}
			return d
		}
		place("kept", false)
		place("kept-durable", true)
		begun, ended := place("begun", false), place("ended", false)
		durable := place("durable", true)
		saved := record("durable")
		saved.Durable = true
		if err := errors.Join(m.saveStart(begun, record("begun")), m.saveStart(ended, record("ended")), m.saveEnd(ended, record("ended"), nil),
			durable.SaveCheckpoint(&store.Checkpoint{Record: saved, Asked: durable.Asked}), m.saveStart(durable, saved),
			os.WriteFile(filepath.Join(state, "store", "asked", ".new-1"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	})
	m := reopened(t, state, nil, nil)
	for id, there := range map[string]bool{"kept": false, "kept-durable": false, "begun": true, "ended": true, "durable": true} {
		if got, err := m.Asked(id); (err == nil) != there || there && string(got) != id {
			t.Errorf("%s: %q, %v", id, got, err)
		}
	}
	if got := names(t, filepath.Join(state, "store", "asked")); !cmp.Equal(got, []string{"begun", "ended"}) {
		t.Errorf("left: %q", got)
	}
	if _, bytes := m.state.History.Runs(); bytes != int64(len("begun")+len("ended")+len("durable")) {
		t.Errorf("%d bytes count", bytes)
	}
	if n := m.prune(time.Now().Add(2 * time.Hour)); n != 3 || len(askedFiles(t, m)) != 0 {
		t.Errorf("%d pruned, left %q", n, askedFiles(t, m))
	}
}

// What can't be removed stays known, and what was asked goes when it can.
func TestAsked_OfWhatCannotBeRemoved(t *testing.T) {
	m := open(t)
	wait(t, "its end", start(t, m, script("echo 'd stop'", asking("r", false, "x"))).done)
	inTheWay := filepath.Join(m.state.Path, trash.Name)
	if err := errors.Join(os.RemoveAll(inTheWay), os.WriteFile(inTheWay, nil, 0o600), os.Mkdir(filepath.Join(m.dirOf("r"), "more"), 0o700)); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(2 * time.Hour)
	if n := m.prune(now); n != 0 || !m.Has("r") {
		t.Errorf("%d pruned", n)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if n := m.prune(now.Add(2 * removeEvery)); n != 1 || len(askedFiles(t, m)) != 0 {
		t.Errorf("%d pruned, left %q", n, askedFiles(t, m))
	}
}

// Another user's run can't read what was asked.
func TestAsked_OutOfReach(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start another user's process")
	}
	for _, kept := range []bool{false, true} {
		m := open(t)
		if err := os.Chmod(filepath.Dir(m.state.Path), 0o711); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(m.state.Path, "store", "asked", "r")
		if kept {
			file = filepath.Join(m.state.Path, "store", "runs", "r", "asked")
		}
		r := start(t, m, script(`cat `+file+` && echo "t read"; rm -f `+file+`; echo "d stop"`, asking("r", kept, "x"), func(s *Spec) {
			s.User = &User{Name: "guest", UID: 54321, GID: 54321, Home: "/nonexistent"}
		}))
		verdict(t, r, outcome.Completed)
		if got := text(events(t, r.Follow(0))); got != "" {
			t.Errorf("durable %v: %q", kept, got)
		}
		if got, err := m.Asked("r"); err != nil || string(got) != "x" {
			t.Errorf("durable %v: %q, %v", kept, got, err)
		}
	}
}
