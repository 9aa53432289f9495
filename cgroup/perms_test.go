package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// someone is an ordinary user.
const someone = 12345

// asOwner calls f as an ordinary user to whom the tree belongs, as a daemon that
// isn't root has it.
func asOwner(t *testing.T, tree string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
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

// A run that takes the permissions of its cgroup.kill away without a pause is
// killed at once.
func TestGroup_RestoresPermsAgain(t *testing.T) {
	r := openRoot(t)
	g := newGroup(t, r, "loop", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	stop := make(chan struct{})
	var loop sync.WaitGroup
	loop.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Chmod(g.dir.Path+"/cgroup.kill", 0)
			}
		}
	})
	defer loop.Wait()
	defer close(stop)
	asOwner(t, r.Path(), func() {
		for range 30000 {
			if err := g.Kill(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if s := v.signal(t); s != unix.SIGKILL {
		t.Errorf("ended by %v", s)
	}
}
