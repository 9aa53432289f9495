package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/run/store"
)

// unsaved ends a durable run whose final record can't be saved, as on a full disk; it tells
// how that becomes possible.
func unsaved(t *testing.T, m *Manager, id string) (r *Run, undo func()) {
	t.Helper()
	release := filepath.Join(t.TempDir(), "release")
	r = start(t, m, script("until [ -e "+release+" ]; do sleep 0.02; done; echo 'd stop'", func(s *Spec) {
		s.ID, s.Durable, s.Fingerprint = id, true, []byte(id)
	}))
	record := m.state.Run(id).StorePath("run.json")
	// A directory takes no file's place.
	if err := errors.Join(os.Remove(record), os.MkdirAll(filepath.Join(record, "x"), 0o700), os.WriteFile(release, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	wait(t, "its group's removal", r.done)
	return r, func() {
		if err := os.RemoveAll(record); err != nil {
			t.Error(err)
		}
	}
}

// Runs that ended, and whose record the full disk has no room for, may be all that holds it:
// the oldest goes where a start needs the room, and its request is not run again.
func TestUnsaved_MakesRoom(t *testing.T) {
	full := fmt.Errorf("write: %w", unix.ENOSPC)
	fullUntilGone := func(m *Manager, id string) func() error {
		return func() error {
			if _, err := os.Lstat(m.state.Run(id).Path); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return full
		}
	}
	known := func(m *Manager, id string) bool {
		_, err := m.Get(id)
		return err == nil
	}
	t.Run("of those that can't be saved, the oldest", func(t *testing.T) {
		m := open(t)
		older, _ := unsaved(t, m, "older")
		unsaved(t, m, "newer")
		verdict(t, older, outcome.Completed)
		for _, path := range m.state.Store.Of(store.PrunedName) {
			// It takes no line, as on a full disk; what replaces it can be written.
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.launchWithRoom(fullUntilGone(m, "older")); err != nil {
			t.Fatal(err)
		}
		if known(m, "older") || !known(m, "newer") {
			t.Errorf("known: the older %v, the newer %v", known(m, "older"), known(m, "newer"))
		}
		if !m.Pruned("older", "tester", []byte("older")) || m.Pruned("newer", "tester", []byte("newer")) {
			t.Error("want the request of the older remembered")
		}
		later, err := store.OpenPruned(m.state.Store.Of(store.PrunedName))
		if err != nil || !later.Has("older", "tester", []byte("older")) {
			t.Errorf("want it known to the next daemon: %v", err)
		}
	})
	t.Run("what can be saved by now is", func(t *testing.T) {
		m := open(t)
		_, undo := unsaved(t, m, "older")
		undo()
		if n := m.reclaim(0, 0); n != 0 || !known(m, "older") {
			t.Errorf("%d removed where nothing is needed", n)
		}
		unsaved(t, m, "newer")
		if err := m.launchWithRoom(fullUntilGone(m, "older")); err != nil {
			t.Fatal(err)
		}
		if !known(m, "newer") {
			t.Error("one went that could stay")
		}
	})
	t.Run("what has just ended is spared while no start needs the room", func(t *testing.T) {
		m := open(t)
		unsaved(t, m, "only")
		if n := m.reclaim(1, spareMax); n != 0 || !known(m, "only") {
			t.Errorf("%d removed", n)
		}
	})
}
