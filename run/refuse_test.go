package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/outcome"
)

func refusal(id string) Record {
	at := time.Now().Add(-time.Minute)
	return Record{ID: id, Client: "tester", Backend: "gone", Model: "gone/x", Session: "s", Received: &at, Cause: outcome.QueueTimeout, Message: "waited too long"}
}

// A run that was promised and never started is one that has ended, here and for the next daemon,
// also where its backend is none any more; it goes as any other.
func TestRefuse(t *testing.T) {
	state := t.TempDir()
	check := func(t *testing.T, m *Manager) {
		t.Helper()
		r, err := m.Get("refused")
		if err != nil {
			t.Fatal(err)
		}
		if c := r.Record(); c.State != Finished || c.Cause != outcome.QueueTimeout || c.Message != "waited too long" || c.Started != nil || c.Ended == nil || !c.Durable || c.Received == nil || c.Session != "s" {
			t.Errorf("%+v", c)
		}
		if v := r.Verdict(); v.Cause != outcome.QueueTimeout || string(r.Fingerprint()) != "print" {
			t.Errorf("%+v %q", v, r.Fingerprint())
		}
		if got := events(t, r.Follow(0)); len(got) != 0 {
			t.Errorf("events: %+v", got)
		}
		if got, err := m.Asked("refused"); err != nil || string(got) != "asked" {
			t.Errorf("%q, %v", got, err)
		}
		if all := m.List(Filter{Client: "tester"}); len(all) != 1 || all[0].ID != "refused" {
			t.Errorf("%+v", all)
		}
		if got := names(t, filepath.Join(state, "runs", "refused")); len(got) != 0 {
			t.Errorf("left beside its record: %q", got)
		}
	}
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		r, saved, err := m.Refuse(refusal("refused"), []byte("print"), []byte("asked"))
		if err != nil || !saved || !isClosed(r.Ended()) || !isClosed(r.done) {
			t.Fatalf("%v, %v", saved, err)
		}
		check(t, m)
		if _, _, err := m.Refuse(refusal("refused"), nil, nil); !errors.Is(err, ErrExists) {
			t.Errorf("twice: %v", err)
		}
	})
	m := reopened(t, state, nil, nil)
	m.o.Backends = func(string) (backend.Backend, bool) { return nil, false }
	check(t, m)
	if err := m.Remove("refused"); err != nil {
		t.Error(err)
	}
	if _, err := m.Get("refused"); !errors.Is(err, fs.ErrNotExist) || !m.Pruned("refused", "tester", []byte("print")) {
		t.Errorf("after its removal: %v", err)
	}
	if got := askedFiles(t, m); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// One whose record there is no room for is kept in memory until there is.
func TestRefuse_NoRoom(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	m := open(t, func(o *Options) {
		o.flush = func(*os.File) error {
			if full.Load() {
				return unix.ENOSPC
			}
			return nil
		}
	})
	r, saved, err := m.Refuse(refusal("refused"), []byte("print"), []byte("asked"))
	if err != nil || saved {
		t.Fatalf("%v, %v", saved, err)
	}
	wait(t, "its end", r.Ended())
	if got, err := m.Get("refused"); err != nil || got != r {
		t.Errorf("%v", err)
	}
	full.Store(false)
	m.retrySaves()
	if got, err := m.Get("refused"); err != nil || got == r || got.Record().Cause != outcome.QueueTimeout {
		t.Errorf("after there was room: %v", err)
	}
	if got, err := m.Asked("refused"); err != nil || string(got) != "asked" {
		t.Errorf("%q, %v", got, err)
	}
}
