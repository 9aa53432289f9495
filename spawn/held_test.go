package spawn

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"penstock/outcome"
	"penstock/sandbox"
)

// A run starts in the directory that was checked, or not at all: whatever has
// been put in its place meanwhile, and as whichever user it runs.
func TestStart_HeldDirectory(t *testing.T) {
	s := open(t, false)
	top := t.TempDir()
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil {
		t.Fatal(err)
	}
	checked, other := filepath.Join(top, "checked"), filepath.Join(top, "other")
	for _, dir := range []string{checked, other} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(checked)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	in := func(id string, user *syscall.Credential) *job {
		j := newJob(t, id, "pwd -P")
		j.Dir, j.Held, j.User = checked, held, user
		return j
	}
	users := map[string]*syscall.Credential{"own": nil}
	if os.Geteuid() == 0 {
		users["guest"] = &syscall.Credential{Uid: 54321, Gid: 54322}
	}
	for name, user := range users {
		if out, _ := in("same-"+name, user).run(s); strings.TrimSpace(out) != checked {
			t.Errorf("%s starts in %q, want %q", name, out, checked)
		}
	}
	if err := os.Rename(checked, checked+"-moved"); err != nil {
		t.Fatal(err)
	}
	refused := func(what string) {
		t.Helper()
		for name, user := range users {
			p, err := in(what+"-"+name, user).start(s)
			if err == nil {
				awaitProcess(t, p)
			}
			var why *StartError
			if !errors.Is(err, sandbox.ErrMoved) || !errors.As(err, &why) || why.Cause != outcome.StartFailed {
				t.Errorf("%s, as %s: %v", what, name, err)
			}
		}
	}
	refused("gone")
	if err := os.Symlink(other, checked); err != nil {
		t.Fatal(err)
	}
	refused("link")
	if err := errors.Join(os.Remove(checked), os.Rename(other, checked)); err != nil {
		t.Fatal(err)
	}
	refused("replaced")
}
