package run

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/spool"
)

// What the version before left in a run's own directory is believed once.
func TestStore_TakesOverOnce(t *testing.T) {
	state := t.TempDir()
	ended := time.Now()
	past(t, state, "before", Record{ID: "before", State: Finished, Cause: outcome.Completed, Client: "c", Created: ended, Ended: &ended})
	text, err := json.Marshal(store.Checkpoint{Deadline: ended, OutputMax: 7, Fingerprint: []byte("f"), Request: backend.Request{Prompt: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	session := Session{Client: "c", Session: "s", Backend: "agent", CLISession: "x", Updated: ended}
	known, err := json.Marshal(session)
	if err != nil {
		t.Fatal(err)
	}
	records := filepath.Join(state, "sessions")
	if err := errors.Join(os.WriteFile(filepath.Join(state, "runs", "before", "will.json"), text, 0o600), os.MkdirAll(records, 0o700),
		os.WriteFile(filepath.Join(records, sessions.Key("c", "s")+".json"), known, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		lock, err := store.LockDir(state)
		if err != nil {
			t.Fatal(err)
		}
		found, err := lock.State.Run("before").Recall()
		if err != nil || found.Record.Client != "c" || found.Checkpoint == nil || found.Checkpoint.OutputMax != 7 || string(found.Checkpoint.Fingerprint) != "f" {
			t.Errorf("%+v %+v %v", found.Record, found.Checkpoint, err)
		}
		all, err := sessions.Open(lock.State, time.Hour, func(path string, err error) { t.Error(path, err) })
		if err != nil || len(all.List("c")) != 1 {
			t.Errorf("sessions: %+v, %v", all, err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"prompt", "spool", "tmp"}, names(t, filepath.Join(state, "runs", "before"))); diff != "" {
			t.Errorf("left of the version before (-want +got):\n%s", diff)
		}
		// From now on a run writes there in vain.
		past(t, state, "forged", Record{ID: "forged", State: Running, Client: "victim", Created: ended})
		past(t, state, "before", Record{ID: "before", State: Finished, Client: "victim", Created: ended, Ended: &ended})
		if err := errors.Join(os.Remove(filepath.Join(state, "runs", "before", "run.json")), os.WriteFile(filepath.Join(records, sessions.Key("c", "t")+".json"), known, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, func(o *Options) { o.StateDir = state })
	if _, err := m.Get("forged"); err == nil {
		t.Error("a record that a run has made is believed")
	}
	if got := m.List(Filter{Client: "victim"}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// disk notes what was flushed, as of when.
type disk struct {
	mu      sync.Mutex
	flushed []string
	fails   string // a name whose flushing does
}

var errDisk = errors.New("no such luck")

func (d *disk) flush(f *os.File) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := filepath.Base(f.Name())
	if strings.HasPrefix(name, ".new-") {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			return err
		}
		switch {
		case strings.Contains(string(text), `"restart":"done"`):
			name = "checkpoint of a second process"
		case strings.Contains(string(text), `"output_max"`):
			name = "checkpoint"
		case strings.Contains(string(text), `"object"`):
			name = "record"
		}
		switch {
		case strings.Contains(string(text), `"state":"finished"`):
			name += " finished"
		case strings.Contains(string(text), `"answered_at"`):
			name += " answered"
		}
	}
	d.flushed = append(d.flushed, name)
	if d.fails != "" && name == d.fails {
		return errDisk
	}
	return nil
}

func (d *disk) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.flushed)
}

func durable(s *Spec) { s.ID, s.Durable = "r", true }

// A durable run's record, checkpoint and directories are on the disk when it is
// born, and its end when it is told.
func TestDurable_OnTheDiskBeforeItsStart(t *testing.T) {
	d := new(disk)
	m := open(t, func(o *Options) { o.flush = d.flush })
	verdict(t, start(t, m, script("echo 'd stop'")), outcome.Completed)
	if got := d.list(); len(got) != 0 {
		t.Errorf("flushed for a run that isn't durable: %q", got)
	}
	dir := t.TempDir()
	r := start(t, m, script(`until [ -e `+dir+`/go ]; do sleep 0.01; done; echo 'd stop'`, durable))
	started := d.list()
	for _, want := range []string{"checkpoint", "record", "runs", "r"} {
		if !slices.Contains(started, want) {
			t.Errorf("%s is not on the disk when the run is started: %q", want, started)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "end", r.Ended())
	ended := d.list()[len(started):]
	most := 10
	if r.Record().Answered != nil { // on a busy machine: by a file and its directory
		most = 12
	}
	if i := slices.Index(ended, "record finished"); i < 0 || !slices.Contains(ended[i:], "r") || !slices.Contains(ended[:i], "checkpoint") {
		t.Errorf("flushed before its end is shown: %q", ended)
	}
	// Two files and the four directories that name them and the run, its leader, and at
	// the end two files and their directory. Its outputs are flushed by fdatasync.
	if all := d.list(); len(all) > most {
		t.Errorf("flushed %d times, want %d: %q", len(all), most, all)
	}
}

// A run whose record says that it has ended, and whose end isn't told yet, is among
// the live: the request of one that was adopted finds it there (server restoreJobs).
func TestLive_HasWhatIsJustEnding(t *testing.T) {
	d, told := new(disk), make(chan struct{})
	m := open(t, func(o *Options) {
		o.flush = func(f *os.File) error {
			err := d.flush(f)
			if slices.Contains(d.list(), "record finished") { // and so its end is not told before told is closed
				<-told
			}
			return err
		}
	})
	r := start(t, m, script("echo 'd stop'", durable))
	flushed := func() bool { return slices.Contains(d.list(), "record finished") }
	for end := time.Now().Add(time.Minute); !flushed() && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if unfinished := m.List(Filter{Unfinished: true}); isClosed(r.Ended()) || len(unfinished) != 0 || !slices.Contains(m.Live(), r) {
		t.Errorf("ended %v, unfinished %v, live %v", isClosed(r.Ended()), unfinished, m.Live())
	}
	close(told)
	wait(t, "end", r.Ended())
}

// That a second process was started is on the disk before it is: after a loss of power
// there would be a third.
func TestDurable_OnTheDiskBeforeItsRestart(t *testing.T) {
	d := new(disk)
	m := open(t, func(o *Options) { o.flush = d.flush })
	remembering(m, t)
	s := script(forgetful, inSession("talk", func(s *Spec) {
		s.Env, s.Fresh = append(s.Env, "COUNT="+t.TempDir()+"/count"), &PromptText{Prompt: "whole"}
	}), durable)
	r := start(t, m, s)
	wait(t, "end", r.Ended())
	all := d.list()
	if i := slices.Index(all, "checkpoint of a second process"); i < 0 || all[i+1] != "r" {
		t.Errorf("flushed: %q", all)
	}
}

// What can't be brought onto the disk is not started.
func TestDurable_ThatCannotBeKept(t *testing.T) {
	for _, fails := range []string{"checkpoint", "record", "runs"} {
		d := &disk{fails: fails}
		m := open(t, func(o *Options) { o.flush = d.flush })
		witness := filepath.Join(t.TempDir(), "ran")
		if _, err := m.Start(t.Context(), script("touch "+witness, durable)); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", fails, err)
		}
		if _, err := os.Stat(witness); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it ran", fails)
		}
		if got := slices.Concat(names(t, m.state.Runs()), names(t, m.state.Store.Runs())); len(got) != 0 {
			t.Errorf("%s: left %q", fails, got)
		}
	}
}

// Whatever a loss of power leaves, no id is held by a run that never was.
func TestRecover_WhatAPowerCutLeaves(t *testing.T) {
	state := t.TempDir()
	lock, err := store.LockDir(state)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	record := func(id string) Record {
		return Record{ID: id, Object: store.Object, State: Running, Client: "c", Created: at, Started: &at}
	}
	make := func(id string, do func(d *store.Dir) error) {
		t.Helper()
		d := lock.State.Run(id)
		if err := errors.Join(d.Make(nil), do(d)); err != nil {
			t.Fatal(err)
		}
	}
	make("only-a-directory", func(d *store.Dir) error { return nil })
	make("no-record", func(d *store.Dir) error { return d.SaveCheckpoint(&store.Checkpoint{Record: record("no-record")}) })
	make("torn", func(d *store.Dir) error {
		return errors.Join(d.SaveCheckpoint(&store.Checkpoint{Record: record("torn"), Leader: 1 << 22}), os.WriteFile(d.StorePath("run.json"), nil, 0o600))
	})
	make("no-outputs", func(d *store.Dir) error {
		return errors.Join(d.SaveCheckpoint(&store.Checkpoint{Record: record("no-outputs"), Leader: 1 << 22}), d.Save(record("no-outputs")), os.RemoveAll(d.Path))
	})
	if err := errors.Join(os.Mkdir(filepath.Join(state, "runs", "no-store"), 0o700), lock.Close()); err != nil {
		t.Fatal(err)
	}
	m := open(t, func(o *Options) { o.StateDir = state })
	var known []string
	for _, r := range m.List(Filter{}) {
		known = append(known, r.ID+" of "+r.Client+" "+string(r.Cause))
	}
	slices.Sort(known)
	if diff := cmp.Diff([]string{"no-outputs of c lost", "torn of c lost"}, known); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"torn"}, names(t, m.state.Runs())); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

// An output that is not the one its run was started with, or shorter than it was at
// the end, is not read as that run's.
func TestRecover_OutputSwapped(t *testing.T) {
	state := t.TempDir()
	agents := func(o *Options) {
		o.StateDir = state
		o.Backends = func(string) (backend.Backend, bool) { return agent{}, true }
	}
	ids := []string{"same", "swapped", "short", "gone"}
	t.Run("first", func(t *testing.T) {
		m := open(t, agents)
		for _, id := range ids {
			verdict(t, start(t, m, script("echo 't text'; echo 'd stop'", durable, func(s *Spec) { s.ID = id })), outcome.Completed)
		}
	})
	path := func(id string) string { return filepath.Join(state, "runs", id, store.SpoolName) }
	text, err := os.ReadFile(path("swapped"))
	if err == nil {
		err = errors.Join(os.WriteFile(path("swapped")+"2", text, 0o600), os.Rename(path("swapped")+"2", path("swapped")),
			os.Truncate(path("short"), 3), os.Remove(path("gone")))
	}
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, agents)
	for _, id := range ids {
		r, err := m.Get(id)
		if err != nil {
			t.Fatalf("%s: not there", id)
		}
		e, err := r.Follow(0).Next(t.Context())
		if tampered := errors.Is(err, spool.ErrTampered); tampered != (id != "same") {
			t.Errorf("%s: %+v, %v", id, e, err)
		}
	}
}
