package store

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"penstock/spawn"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
			s, err := makeStateDir(state)
			if err == nil {
				s.Store = Store{[]string{filepath.Join(state, storeName)}}
				err = s.fillStore()
			}
			if err != nil {
				t.Error(err)
				return
			}
			d := s.Run("r")
			if found, err := d.Recall(); errors.Is(err, ErrNeverStarted) {
				err = d.Make(nil)
				if err = errors.Join(err, d.Save(Record{ID: "r", Client: "c"}), os.Chmod(d.StorePath(recordName), 0), os.Chmod(d.stored[0], 0)); err != nil {
					t.Error(err)
				}
			} else if err != nil || found.Record.Client != "c" {
				t.Errorf("%+v, %v", found.Record, err)
			}
			if err := errors.Join(d.Save(Record{ID: "r", Client: "c"}), os.Chmod(d.stored[0], 0), os.Chmod(s.Store.Runs(), 0), os.Chmod(s.Store.places[0], 0)); err != nil {
				t.Error(err)
			}
		}
	})
}

// Where a directory was made for it the store lies beside the state directory, in
// which runs may then make files; a directory that others may open is none.
func TestStore_Beside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "penstock")
	beside := dir + besideSuffix
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(beside, 0o755)); err != nil {
		t.Fatal(err)
	}
	if got := Places(dir); slices.Contains(got, beside) {
		t.Errorf("a directory open to all is the store: %v", got)
	}
	if err := os.Chmod(beside, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("this needs root: an ordinary user's runs could write beside the state directory")
	}
	l, err := LockDir(dir)
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
	if _, err := LockDir(dir); err == nil || !strings.Contains(err.Error(), "later version") {
		t.Errorf("got %v", err)
	}
}

// In a runtime directory the store is gone after a reboot: then its copy is read,
// of which nothing lives. Else nothing reads the copy.
func TestStore_Copy(t *testing.T) {
	dir := t.TempDir()
	s := &StateDir{Path: dir, Store: Store{[]string{filepath.Join(dir, "runtime"), filepath.Join(dir, storeName)}}}
	begin := func() {
		t.Helper()
		for _, p := range []string{s.Runs(), s.Sessions(), s.Store.places[0]} {
			if err := os.MkdirAll(p, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(s.fillStore(), s.openHistory()); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	d := s.Run("r")
	if err := errors.Join(d.Make(nil), d.SaveCheckpoint(&Checkpoint{OutputMax: 7}), d.Save(Record{ID: "r", State: Running, Client: "c"})); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(s.Store.Of("sessions", "key.json"), Session{Client: "c", Session: "s"}, SmallMax, nil); err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(s.Store.places[1], "runs", "forged")
	if err := errors.Join(os.Mkdir(forged, 0o700), WriteJSON([]string{filepath.Join(forged, recordName)}, Record{ID: "forged", State: Finished}, SmallMax, nil)); err != nil {
		t.Fatal(err)
	}
	begin()
	live := func() []spawn.Leftover {
		t.Helper()
		left, err := (&Lock{s}).Leftovers(func(string, string) Bounds { return Bounds{} })
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	if diff := cmp.Diff([]string{"r"}, entries(t, s.Store.Runs())); diff != "" || len(live()) != 1 {
		t.Errorf("live %v (-want +got):\n%s", live(), diff)
	}
	if err := os.RemoveAll(s.Store.places[0]); err != nil {
		t.Fatal(err)
	}
	begin()
	found, err := d.Recall()
	if err != nil || found.Record.Client != "c" || found.Checkpoint == nil || found.Checkpoint.OutputMax != 7 || len(live()) != 0 {
		t.Errorf("after a reboot: %+v, %v, live %v", found, err, live())
	}
	var one Session
	text, err := ReadSmall(filepath.Join(s.Store.sessions(), "key.json"))
	if err == nil {
		err = json.Unmarshal(text, &one)
	}
	if err != nil || one.Client != "c" || one.Session != "s" {
		t.Errorf("session: %s, %v", text, err)
	}
}

// A store in a runtime directory is gone after a reboot: the copy has what was asked of a
// durable run, that its output is to go, and the chains of sessions.
func TestStore_AfterAReboot(t *testing.T) {
	top := t.TempDir()
	s := &StateDir{Path: filepath.Join(top, "state")}
	s.Store = Store{[]string{filepath.Join(top, "runtime"), filepath.Join(s.Path, storeName)}}
	if err := errors.Join(os.MkdirAll(s.Runs(), 0o700), s.fillStore()); err != nil {
		t.Fatal(err)
	}
	d := s.Run("r")
	err := errors.Join(d.Make(nil), d.SaveAsked([]byte("asked")))
	for _, path := range s.Store.Of(ChainsName) {
		err = errors.Join(err, os.WriteFile(path, []byte("chains"), 0o600))
	}
	err = errors.Join(err, d.MarkDiscard())
	if err = errors.Join(err, d.SaveCheckpoint(&Checkpoint{Asked: d.Asked}), d.Save(Record{ID: "r", Object: Object}), os.RemoveAll(s.Store.places[0]), s.fillStore()); err != nil {
		t.Fatal(err)
	}
	for i, path := range s.Run("r").askedPaths() {
		if text, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(text), "\nasked") {
			t.Errorf("place %d: %q, %v", i, text, err)
		}
	}
	if got, err := s.Run("r").LoadAsked(); err != nil || string(got) != "asked" {
		t.Errorf("%q, %v", got, err)
	}
	var marked []string
	if err := s.Discards(func(id string) { marked = append(marked, id) }); err != nil || len(marked) != 1 || marked[0] != "r" {
		t.Errorf("to go: %q, %v", marked, err)
	}
	if text, err := os.ReadFile(s.Store.Of(ChainsName)[0]); err != nil || string(text) != "chains" {
		t.Errorf("chains: %q, %v", text, err)
	}
}
