package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"penstock/image"
)

// A signal ends an add, which says so, and leaves nothing.
func TestImages_Interrupted(t *testing.T) {
	dir := t.TempDir()
	imageLayout(t, filepath.Join(dir, "layout"), "text", 50_000)
	c := program(t, "image", "add", "--state-dir", filepath.Join(dir, "state"), "x", filepath.Join(dir, "layout"))
	c.Env = append(c.Env, noExitSleep)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	staged := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, "state", "images", "new", "*", "image", "rootfs", "etc"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	eventually(t, func() bool { return len(staged()) > 0 })
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || out.String() != "penstock: image add: interrupted\n" || len(staged()) > 0 {
		t.Errorf("%v %q, left %v", err, out.String(), staged())
	}
}

// What a killed add has left is gone before another needs its room, also where that one
// then fails.
func TestImages_RoomOfTheKilled(t *testing.T) {
	dir := t.TempDir()
	layout, state := filepath.Join(dir, "layout"), filepath.Join(dir, "state")
	imageLayout(t, layout, "text", 10)
	left := filepath.Join(state, "images", "new", "01M8MYRGQFQN6WWZXKZJ149AZ1")
	if out, err := penstock(t, "image", "add", "--state-dir", state, "x", layout); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(left, "image", "rootfs", "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	imageLayout(t, layout, "other", 10)
	if out, err := penstock(t, "image", "add", "--state-dir", state, "--max-size", "1", "y", layout); err == nil || !strings.Contains(out, "--max-size") {
		t.Errorf("%v %s", err, out)
	}
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// An add that is killed, wherever, leaves the name as it was or as it is to be, and
// nothing that the next call does not sweep.
func TestImages_Killed(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("this machine lacks strace")
	}
	const places = 10
	// What an add does one after the other, or in a row of each file.
	steps := []string{"mkdirat", "flock", "rename", "renameat", "syncfs", "fsync"}
	rows := []string{"openat", "fchmodat", "utimensat", "write", "unlinkat"}
	calls := slices.Concat(steps, rows)
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	imageLayout(t, before, "before", 5)
	imageLayout(t, after, "after", 40)
	// In memory, where there is nothing to be flushed: each add flushes a whole file system.
	memory, err := os.MkdirTemp("/dev/shm", "penstock-test")
	if err != nil {
		memory = dir
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(memory); err != nil {
			t.Error(err)
		}
	})
	state := filepath.Join(memory, "state")
	traced := func(state string, options ...string) *exec.Cmd {
		p := program(t, "image", "add", "--state-dir", state, "x", after)
		args := slices.Concat([]string{"-f", "-qq", "-o", filepath.Join(dir, "trace")}, options, []string{p.Path}, p.Args[1:])
		c := exec.Command("strace", args...)
		c.Env = append(p.Environ(), "GOMAXPROCS=1", noExitSleep)
		return c
	}
	if out, err := traced(filepath.Join(memory, "counted"), "-e", "trace="+strings.Join(calls, ",")).CombinedOutput(); err != nil {
		t.Skipf("this machine lets strace trace nothing: %v %s", err, out)
	}
	trace, err := os.ReadFile(filepath.Join(dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, call := range calls {
		n := strings.Count(string(trace), " "+call+"(")
		at := []int{n / 3, n - 1}
		if slices.Contains(steps, call) {
			at = []int{1, n/2 + 1, n}
		}
		for _, at := range slices.Compact(at) {
			if at < 1 || at > n {
				continue
			}
			if out, err := penstock(t, "image", "add", "--state-dir", state, "x", before); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			c := traced(state, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, at))
			if out, err := c.CombinedOutput(); err == nil {
				continue // another thread made the call
			} else if c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL && c.ProcessState.ExitCode() != 137 {
				t.Fatalf("%s %d: %v %s", call, at, err, out)
			}
			killed++
			wantWhole(t, state, fmt.Sprintf("%s %d", call, at))
		}
	}
	if killed < places {
		t.Errorf("killed in only %d places", killed)
	}
	t.Logf("killed in %d places", killed)
}

// wantWhole looks at what a kill has left, and at what the next call makes of it.
func wantWhole(t *testing.T, state, where string) {
	t.Helper()
	s, err := image.OpenExisting(filepath.Join(state, "images"))
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	n, err := s.Name("x")
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	use, err := s.Use(t.Context(), n.Digest)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	text, err := os.ReadFile(filepath.Join(use.Rootfs, "etc", "text"))
	many, globErr := filepath.Glob(filepath.Join(use.Rootfs, "many", "*"))
	if want := map[string]int{"before": 5, "after": 40}[string(text)]; err != nil || globErr != nil || len(many) != want {
		t.Errorf("%s: %q with %d files: %v", where, text, len(many), err)
	}
	if err := use.Close(); err != nil {
		t.Error(err)
	}
	if out, err := penstock(t, "image", "rm", "--state-dir", state, "x"); err != nil {
		t.Errorf("%s: %v %s", where, err, out)
	}
	for _, name := range []string{"new", "trash", "sha256", "names"} {
		entries, err := os.ReadDir(filepath.Join(state, "images", name))
		left := slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".new-") })
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left in %s: %v %v", where, name, left, err)
		}
	}
}
