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
	"penstock/internal/atomicfile"
	"penstock/spawn"
)

// What the version before left in a run's own directory is believed once.
func TestStore_TakesOverOnce(t *testing.T) {
	state := t.TempDir()
	ended := time.Now()
	past(t, state, "before", Record{ID: "before", State: Finished, Cause: spawn.Completed, Client: "c", Created: ended, Ended: &ended})
	text, err := json.Marshal(will{Deadline: ended, OutputMax: 7, Fingerprint: []byte("f"), Request: backend.Request{Prompt: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	session := Session{Client: "c", Session: "s", Backend: "agent", CLISession: "x", Updated: ended}
	known, err := json.Marshal(session)
	if err != nil {
		t.Fatal(err)
	}
	sessions := filepath.Join(state, "sessions")
	if err := errors.Join(os.WriteFile(filepath.Join(state, "runs", "before", legacyWill), text, 0o600), os.MkdirAll(sessions, 0o700),
		os.WriteFile(filepath.Join(sessions, sessionKey("c", "s")+".json"), known, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		lock, err := Hold(state)
		if err != nil {
			t.Fatal(err)
		}
		found, err := lock.state.directory("before").recall()
		if err != nil || found.record.Client != "c" || found.will == nil || found.will.OutputMax != 7 || string(found.will.Fingerprint) != "f" {
			t.Errorf("%+v %+v %v", found.record, found.will, err)
		}
		all, err := openSessions(lock.state, func(path string, err error) { t.Error(path, err) })
		if err != nil || len(all.list("c")) != 1 {
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
		if err := errors.Join(os.Remove(filepath.Join(state, "runs", "before", recordName)), os.WriteFile(filepath.Join(sessions, sessionKey("c", "t")+".json"), known, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, func(o *Options) { o.StateDir = state })
	if _, ok := m.Get("forged"); ok {
		t.Error("a record that a run has made is believed")
	}
	if got := m.List(Filter{Client: "victim"}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// Landlock doesn't keep a run from the permission bits of its user's files.
func TestStore_PermissionBitsTakenAway(t *testing.T) {
	top := t.TempDir()
	state := filepath.Join(top, "state")
	for d := top; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	asOther(t, func() {
		for range 2 {
			s, err := makeState(state)
			if err == nil {
				s.store = store{[]string{filepath.Join(state, storeName)}}
				err = s.fillStore()
			}
			if err != nil {
				t.Error(err)
				return
			}
			d := s.directory("r")
			if found, err := d.recall(); errors.Is(err, errNeverStarted) {
				err = d.make(nil)
				if err = errors.Join(err, d.save(Record{ID: "r", Client: "c"}), os.Chmod(d.inStore(recordName), 0), os.Chmod(d.kept[0], 0)); err != nil {
					t.Error(err)
				}
			} else if err != nil || found.record.Client != "c" {
				t.Errorf("%+v, %v", found.record, err)
			}
			if err := errors.Join(d.save(Record{ID: "r", Client: "c"}), os.Chmod(d.kept[0], 0), os.Chmod(s.store.runs(), 0), os.Chmod(s.store.places[0], 0)); err != nil {
				t.Error(err)
			}
		}
	})
}

// In a runtime directory the store is gone after a reboot: then its copy is read,
// of which nothing lives. Else nothing reads the copy.
func TestStore_Copy(t *testing.T) {
	dir := t.TempDir()
	s := &state{dir: dir, store: store{[]string{filepath.Join(dir, "runtime"), filepath.Join(dir, storeName)}}}
	begin := func() {
		t.Helper()
		for _, p := range []string{s.runs(), s.sessions(), s.store.places[0]} {
			if err := os.MkdirAll(p, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.fillStore(); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	d := s.directory("r")
	if err := errors.Join(d.make(nil), d.saveWill(&will{OutputMax: 7}), d.save(Record{ID: "r", State: Running, Client: "c"})); err != nil {
		t.Fatal(err)
	}
	all, err := openSessions(s, func(path string, err error) { t.Error(path, err) })
	if err == nil {
		err = all.put(Session{Client: "c", Session: "s"}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(s.store.places[1], "runs", "forged")
	if err := errors.Join(os.Mkdir(forged, 0o700), writeJSON([]string{filepath.Join(forged, recordName)}, Record{ID: "forged", State: Finished}, smallMax, nil)); err != nil {
		t.Fatal(err)
	}
	begin()
	live := func() []spawn.Leftover {
		t.Helper()
		left, err := (&Lock{s}).Live(func(string, string) Bounds { return Bounds{} })
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	if diff := cmp.Diff([]string{"r"}, names(t, s.store.runs())); diff != "" || len(live()) != 1 {
		t.Errorf("live %v (-want +got):\n%s", live(), diff)
	}
	if err := os.RemoveAll(s.store.places[0]); err != nil {
		t.Fatal(err)
	}
	begin()
	found, err := d.recall()
	if err != nil || found.record.Client != "c" || found.will == nil || found.will.OutputMax != 7 || len(live()) != 0 {
		t.Errorf("after a reboot: %+v, %v, live %v", found, err, live())
	}
	if all, err := openSessions(s, func(path string, err error) { t.Error(path, err) }); err != nil || len(all.list("c")) != 1 {
		t.Errorf("sessions: %+v, %v", all, err)
	}
}

// Where a directory was made for it the store lies beside the state directory, in
// which runs may then make files; a directory that others may open is none.
func TestStore_Beside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "penstock")
	beside := dir + besideSuffix
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(beside, 0o755)); err != nil {
		t.Fatal(err)
	}
	if got := StorePlaces(dir); slices.Contains(got, beside) {
		t.Errorf("a directory open to all is the store: %v", got)
	}
	if err := os.Chmod(beside, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("this needs root: an ordinary user's runs could write beside the state directory")
	}
	l, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stat(filepath.Join(beside, formatName)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, storeName)); err == nil {
		t.Error("there is a store inside, too")
	}
}

func TestStore_LaterFormat(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, storeName), 0o700), os.WriteFile(filepath.Join(dir, storeName, formatName), []byte("3\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Hold(dir); err == nil || !strings.Contains(err.Error(), "later version") {
		t.Errorf("got %v", err)
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
		case strings.Contains(string(text), `"output_max"`):
			name = "checkpoint"
		case strings.Contains(string(text), `"object"`):
			name = "record"
		}
		if strings.Contains(string(text), `"state":"finished"`) {
			name += " finished"
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
func TestDurableRunIsOnTheDisk(t *testing.T) {
	d := new(disk)
	m := open(t, func(o *Options) { o.flush = d.flush })
	verdict(t, start(t, m, script("echo 'd stop'")), spawn.Completed)
	if got := d.list(); len(got) != 0 {
		t.Errorf("flushed for a run that isn't durable: %q", got)
	}
	dir := t.TempDir()
	r := start(t, m, script(`until [ -e `+dir+`/go ]; do sleep 0.01; done; echo 'd stop'`, durable))
	born := d.list()
	for _, want := range []string{"checkpoint", "record", "runs", "r"} {
		if !slices.Contains(born, want) {
			t.Errorf("%s is not on the disk when the run is born: %q", want, born)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "end", r.Ended())
	ended := d.list()[len(born):]
	if i := slices.Index(ended, "record finished"); i < 0 || !slices.Contains(ended[i:], "r") || !slices.Contains(ended[:i], "checkpoint") {
		t.Errorf("flushed before its end is told: %q", ended)
	}
}

// What can't be brought onto the disk is not started.
func TestDurableRunThatCannotBeKept(t *testing.T) {
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
		if got := slices.Concat(names(t, m.state.runs()), names(t, m.state.store.runs())); len(got) != 0 {
			t.Errorf("%s: left %q", fails, got)
		}
	}
}

// Whatever a loss of power leaves, no id is held by a run that never was.
func TestWhatAPowerCutLeaves(t *testing.T) {
	state := t.TempDir()
	lock, err := Hold(state)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	record := func(id string) Record {
		return Record{ID: id, Object: object, State: Running, Client: "c", Created: at, Started: &at}
	}
	make := func(id string, do func(d *directory) error) {
		t.Helper()
		d := lock.state.directory(id)
		if err := errors.Join(d.make(nil), do(d)); err != nil {
			t.Fatal(err)
		}
	}
	make("only-a-directory", func(d *directory) error { return nil })
	make("no-record", func(d *directory) error { return d.saveWill(&will{Record: record("no-record")}) })
	make("torn", func(d *directory) error {
		return errors.Join(d.saveWill(&will{Record: record("torn"), Leader: 1 << 22}), os.WriteFile(d.inStore(recordName), nil, 0o600))
	})
	make("no-outputs", func(d *directory) error {
		return errors.Join(d.saveWill(&will{Record: record("no-outputs"), Leader: 1 << 22}), d.save(record("no-outputs")), os.RemoveAll(d.path))
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
	if diff := cmp.Diff([]string{"torn"}, names(t, m.state.runs())); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

// Of a prompt each byte may take six in JSON.
func TestCheckpointOfALongPrompt(t *testing.T) {
	d := newDirectory(t, nil)
	w := &will{Talks: true, Request: backend.Request{Prompt: strings.Repeat("\x01\xff", 6<<20), System: "s\x00"}}
	if err := d.saveWill(w); err != nil {
		t.Fatal(err)
	}
	got, err := d.loadWill()
	if err == nil {
		err = d.loadWords(got)
	}
	if err != nil || got.Request.Prompt != w.Request.Prompt || got.Request.System != w.Request.System {
		t.Errorf("%v: not what was told", err)
	}
	if err := os.Truncate(d.inStore(wordsName), 3); err != nil {
		t.Fatal(err)
	}
	if err := d.loadWords(got); err == nil || !strings.Contains(err.Error(), "3 bytes instead of") {
		t.Errorf("torn words: %v", err)
	}
	if err := writeJSON([]string{d.inStore("x")}, strings.Repeat("x", 100), 100, atomicfile.Flusher(nil)); err == nil {
		t.Error("something was written that can't be read")
	}
}

// An output that is not the one its run was born with, or shorter than it was at
// the end, is not told as that run's.
func TestOutputSwappedWithoutADaemon(t *testing.T) {
	state := t.TempDir()
	agents := func(o *Options) {
		o.StateDir = state
		o.Backends = func(string) (backend.Backend, bool) { return agent{}, true }
	}
	ids := []string{"same", "swapped", "short", "gone"}
	t.Run("first", func(t *testing.T) {
		m := open(t, agents)
		for _, id := range ids {
			verdict(t, start(t, m, script("echo 't text'; echo 'd stop'", durable, func(s *Spec) { s.ID = id })), spawn.Completed)
		}
	})
	spool := func(id string) string { return filepath.Join(state, "runs", id, spoolName) }
	text, err := os.ReadFile(spool("swapped"))
	if err == nil {
		err = errors.Join(os.WriteFile(spool("swapped")+"2", text, 0o600), os.Rename(spool("swapped")+"2", spool("swapped")),
			os.Truncate(spool("short"), 3), os.Remove(spool("gone")))
	}
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, agents)
	for _, id := range ids {
		r, ok := m.Get(id)
		if !ok {
			t.Fatalf("%s: not there", id)
		}
		e, err := r.Follow(0).Next(t.Context())
		if spoiled := errors.Is(err, ErrSpoiled); spoiled != (id != "same") {
			t.Errorf("%s: %+v, %v", id, e, err)
		}
	}
}

func TestBoundsHold(t *testing.T) {
	now := time.Now()
	began := now.Add(-time.Minute)
	wide := spawn.Resources(spawn.Limits{MemoryMax: 1 << 40, PidsMax: 1 << 20})
	b := Bounds{
		Limits:  spawn.Resources(spawn.Limits{MemoryMax: 1 << 30, PidsMax: 100}),
		Timeout: time.Hour, Grace: time.Second, Stall: time.Minute, OutputMax: 1 << 20, LineMax: 1 << 10,
	}
	for name, w := range map[string]will{
		"none":     {Grace: -1},
		"too much": {Deadline: now.Add(999 * time.Hour), Grace: time.Hour, Stall: time.Hour, OutputMax: 1 << 60, LineMax: 1 << 60},
		"negative": {Stall: -1, OutputMax: -1, LineMax: -1},
	} {
		for _, limits := range []*Record{{}, {Limits: wide}} {
			r := *limits
			r.Started = &began
			b.hold(&r, &w, now)
			if w.Deadline.After(began.Add(time.Hour)) || w.Deadline.IsZero() || w.Grace < 0 || w.Grace > time.Second ||
				w.Stall != time.Minute || w.OutputMax != 1<<20 || w.LineMax != 1<<10 || memoryOf(r.Limits) != 1<<30 || pidsOf(r.Limits) != 100 {
				t.Errorf("%s: %+v %+v", name, w, r.Limits)
			}
		}
	}
	narrow := will{Deadline: now, Stall: 1, OutputMax: 2, LineMax: 3}
	r := Record{Started: &began, Limits: spawn.Resources(spawn.Limits{MemoryMax: 5, PidsMax: 6})}
	if b.hold(&r, &narrow, now); narrow.Deadline != now || narrow.Stall != 1 || narrow.OutputMax != 2 || narrow.LineMax != 3 || memoryOf(r.Limits) != 5 || pidsOf(r.Limits) != 6 {
		t.Errorf("%+v %+v", narrow, r.Limits)
	}
	later := now.Add(time.Hour)
	r.Started = &later
	if b.hold(&r, &will{}, now); r.Started.After(now) {
		t.Error("it started in the future")
	}
}
