package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// someone is an ordinary user.
const someone = 12345

// asOwner calls f as an ordinary user to whom the tree belongs, as a daemon that
// isn't root has it, but for files of some names, which nobody may open.
func asOwner(t *testing.T, tree string, f func(), but ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if slices.Contains(but, filepath.Base(path)) {
			return errors.Join(err, os.Chmod(path, 0))
		}
		return errors.Join(err, os.Lchown(path, someone, someone))
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		// Of this thread alone; it takes the capabilities over files along.
		unix.RawSyscall(unix.SYS_SETFSUID, someone, 0, 0)
		f()
	}()
	<-done
}

// A run of a daemon that isn't root owns its group's files: it can take away
// what killing and removing it needs, and even what the next run needs.
func TestGroup_RestoresPerms(t *testing.T) {
	r := openRoot(t)
	g := newGroup(t, r, "locked", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	if err := os.MkdirAll(g.dir.Path+"/below/more", 0o755); err != nil {
		t.Fatal(err)
	}
	asOwner(t, r.Path(), func() {
		for _, path := range []string{"/cgroup.kill", "/cgroup.events", "/cgroup.procs", "/cpu.stat", "/below/more", "/below", ""} {
			if err := os.Chmod(g.dir.Path+path, 0); err != nil {
				t.Error(err)
			}
		}
		for _, path := range []string{r.runs.Path, r.Path()} {
			if err := os.Chmod(path, 0); err != nil {
				t.Error(err)
			}
		}
		if err := os.WriteFile(r.runs.Path+"/x", nil, 0); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("nothing is shown by this: %v", err)
		}
		if u, err := g.Usage(); err != nil || u.CPUUsec == nil {
			t.Errorf("usage %+v, %v", u, err)
		}
		if pids, err := g.Procs(); err != nil || len(pids) != 1 {
			t.Errorf("processes %v, %v: the watch would be blind", pids, err)
		}
		if err := g.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
		if err := g.WaitEmpty(t.Context()); err != nil {
			t.Errorf("wait: %v", err)
		}
		if _, err := g.Receipt(); err != nil {
			t.Errorf("receipt: %v", err)
		}
		if err := g.Remove(t.Context()); err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := os.Chmod(r.runs.Path, 0); err != nil {
			t.Error(err)
		}
		next, err := r.NewGroup("next", nil)
		if err != nil {
			t.Errorf("the next group: %v", err)
			return
		}
		if err := next.Remove(t.Context()); err != nil {
			t.Errorf("remove the next: %v", err)
		}
	})
	if s := v.signal(t); s != unix.SIGKILL {
		t.Errorf("victim ended by %v, want SIGKILL", s)
	}
}

// A run that takes the permissions of its cgroup.kill away without a pause wins each race
// to open it; one that gave it away, which no owner can, wins for certain. It is killed all
// the same.
func TestGroup_KillNeedsNoPermissionAnyMore(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	r := openRoot(t)
	g := newGroup(t, r, "loop", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	asOwner(t, r.Path(), func() {
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
	}, "cgroup.kill")
	if s := v.signal(t); s != unix.SIGKILL {
		t.Errorf("ended by %v", s)
	}
}
