package run

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
)

func TestStart_AsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root may run a backend as another user")
	}
	for _, umask := range []int{0o022, 0o077} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) { testAnotherUser(t, umask) })
	}
}

func testAnotherUser(t *testing.T, umask int) {
	m := open(t)
	if err := os.Chmod(filepath.Dir(m.state.Path), 0o711); err != nil {
		t.Fatal(err)
	}
	seed := t.TempDir()
	if err := os.WriteFile(filepath.Join(seed, "key"), []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := unix.Umask(umask)
	defer unix.Umask(before)
	const does = `cat; echo; echo "t $(id -u):$(id -g):$USER:"
cat $TMPDIR/../conf/a $HOME/key > $TMPDIR/x; touch mine; echo "t $(cat $TMPDIR/x)"
for attempt in "touch $TMPDIR/../new" "mv $TMPDIR/../spool $TMPDIR/mine" "cat $TMPDIR/../../../store/runs/*/run.json" "ls $TMPDIR/.." "ls $TMPDIR/../.."; do
	$attempt > /dev/null 2>&1 && echo "t !$attempt!"
done
echo "note" >> /proc/self/fd/2
echo "d stop"`
	for _, session := range []string{"", "s"} {
		r := start(t, m, script(does, inSession(session, func(s *Spec) {
			s.User = &User{Name: "guest", UID: 54321, GID: 54322}
			s.Backend = agent{files: []backend.File{{Name: "conf/a", Data: []byte("secret")}}}
			s.Home, s.HomeSeed = private, seed
			s.Request.Prompt = "t asked:"
		})))
		verdict(t, r, outcome.Completed)
		stderr, err := os.ReadFile(r.dir.File(store.StderrName))
		if err != nil || string(stderr) != "note\n" {
			t.Errorf("session %q: stderr: %q, %v", session, stderr, err)
		}
		if got, want := text(events(t, r.Follow(0))), "asked:54321:54322:guest:secretk"; got != want {
			t.Errorf("session %q: got %q, want %q", session, got, want)
		}
		for _, path := range []string{m.state.Path, m.state.Runs(), r.dir.Path} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o711 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}
}

// What tells its version is started as the runs' user: that user may have written it.
func TestProbe_AsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root may run a backend as another user")
	}
	m := open(t)
	dir := t.TempDir()
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "agent")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho 1.2 $(id -u):$(id -g):$USER:$HOME\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := m.ProbeVersion(t.Context(), []string{program}, []string{"PATH=/usr/bin:/bin"}, &User{Name: "guest", UID: 54321, GID: 54322, Home: "/nonexistent"})
	if want := "1.2 54321:54322:guest:/nonexistent"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
