package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Requests are there again as they were, in the order in which they came; what is torn is named, and
// goes.
func TestPending(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	var all []Pending
	for i, id := range []string{"b", ".new-a", "c"} {
		p := Pending{ID: id, Client: "c", Operator: i == 0, Dialect: "responses", Session: "s", Fingerprint: []byte{1, 2}, Received: at.Add(time.Duration(i) * time.Second), Body: []byte("{}\n\n\x00")}
		all = append(all, p)
	}
	for _, i := range []int{2, 0, 1} {
		flushed := 0
		if err := s.SavePending(all[i], func(*os.File) error { flushed++; return nil }); err != nil || flushed < 2 {
			t.Errorf("%v, flushed %d", err, flushed)
		}
	}
	if err := s.SweepUnfinished(); err != nil {
		t.Error(err)
	}
	dir := s.Store.Of(pendingName)[0]
	whole, err := os.ReadFile(filepath.Join(dir, "run-b"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"run-cut": string(whole[:len(whole)-1]), "run-empty": "", "run-other": string(whole), "stranger": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bad := map[string]bool{}
	got, err := s.Pending(func(path string, err error) { bad[filepath.Base(path)] = err != nil })
	if diff := cmp.Diff(all, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(map[string]bool{"run-cut": true, "run-empty": true, "run-other": true, "stranger": true}, bad); diff != "" {
		t.Error(diff)
	}
	for _, p := range all {
		if err := s.ForgetPending(p.ID); err != nil {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "stranger" {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, p := range []Pending{{ID: "../x"}, {ID: "x", Body: make([]byte, AskedMax+1)}} {
		if s.SavePending(p, nil) == nil {
			t.Errorf("%q was kept", p.ID)
		}
	}
}
