package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestLockDir_IsForOneDaemon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("second daemon: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if diff := cmp.Diff([]string{"lock", "runs", "sessions", "store"}, entries(t, dir)); diff != "" {
		t.Errorf("left by the probe (-want +got):\n%s", diff)
	}
}

// What a daemon hands over is taken on a full disk, too, where no daemon starts.
func TestInheritLock_OnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	before, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.OpenFile(before.State.lockPath(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a daemon that starts: %v", err)
	}
	after, err := InheritLock(dir, left)
	if err != nil {
		t.Fatal(err)
	}
	if got := holder(left); got != fmt.Sprint(os.Getpid()) {
		t.Errorf("the lock says %q", got)
	}
	if err := after.Close(); err != nil {
		t.Error(err)
	}
}

// A lock file that was taken away for a stale one has not ended the daemon's runs.
func TestInheritLock_WithoutTheName(t *testing.T) {
	dir := t.TempDir()
	before, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := before.State.lockPath()
	left := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(fmt.Sprint("/proc/self/fd/", before.State.Lock.Fd()), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := left(), left()
	if err := errors.Join(before.Close(), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	after, err := InheritLock(dir, first)
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if _, err := LockDir(dir); err == nil {
		t.Error("the directory is not held")
	}
	if _, err := InheritLock(dir, second); err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
		t.Errorf("it was inherited from somebody who holds it: %v", err)
	}
}

// A lock whose holder is gone, and that a child of its has for a moment yet, is
// waited for.
func TestLockDir_WaitsForTheDead(t *testing.T) {
	dir := t.TempDir()
	before, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := before.State.Lock.WriteAt(fmt.Appendf(nil, "%-10d\n", gone.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { before.Close() })
	after, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); err == nil {
		t.Error("held twice")
	}
	if err := after.Close(); err != nil {
		t.Error(err)
	}
}

func TestLockDir_ThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{"": "state_dir", "relative": "absolute", "/proc/penstock": "not writable", filepath.Join(file, "x"): "not writable"} {
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want it to say %q", dir, err, says)
		}
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	s, err := Open(open)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(open); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a directory open to all stays %v, %v", info.Mode(), err)
	}
}

// A lock that is left stays held while it changes hands, and opens no other
// directory.
func TestInheritLock(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	held, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := InheritLock(other, held.State.Lock); err == nil {
		t.Error("a lock opens another directory")
	}
	// Inherit has closed it: the directory is held no more.
	held, err = LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := InheritLock(dir, held.State.Lock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); err == nil {
		t.Error("another daemon takes an inherited directory")
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
