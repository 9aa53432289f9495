package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"penstock/cgroup/cgroupfs"
)

// tree makes <top>/a/b, groups as far as these files go.
func tree(t *testing.T) (top, leaf string) {
	t.Helper()
	top = t.TempDir()
	leaf = filepath.Join(top, "a", "b")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		t.Fatal(err)
	}
	return top, leaf
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The smallest limit counts, of whichever kind: at memory.high the daemon is
// throttled with its runs.
func TestMemoryAbove(t *testing.T) {
	top, leaf := tree(t)
	if b, ok := memoryAbove(leaf, top); ok {
		t.Errorf("without any limit: %+v", b)
	}
	for _, step := range []struct {
		file, value string
		want        int64
		from        string
	}{
		{leaf + "/memory.max", "max", 0, ""},
		{filepath.Dir(leaf) + "/memory.max", "4096000", 4096000, "a/memory.max"},
		{top + "/memory.max", "8192000", 4096000, "a/memory.max"},
		{top + "/memory.high", "max", 4096000, "a/memory.max"},
		{top + "/memory.high", "3072000", 3072000, "memory.high"},
		{leaf + "/memory.max", "40960", 40960, "a/b/memory.max"},
	} {
		put(t, step.file, step.value)
		b, ok := memoryAbove(leaf, top)
		if ok != (step.want > 0) || b.N != step.want || ok && b.From != filepath.Join(top, step.from) {
			t.Errorf("after %s in %s: %+v, %v, want %d from %s", step.value, step.file, b, ok, step.want, step.from)
		}
	}
}

// What is left to runs is the limit less what others have and the daemon's reserve.
func TestTasksAbove(t *testing.T) {
	top, leaf := tree(t)
	a := filepath.Dir(leaf)
	put(t, a+"/pids.max", "640")
	put(t, a+"/pids.current", "150")
	for _, tt := range []struct {
		inRuns, want int64
	}{{0, 640 - 150 - 64 - 20}, {100, 640 - 50 - 64 - 20}, {1000, 640 - 64 - 20}} {
		var room taskHeadroom
		b, ok := room.remaining(leaf, top, tt.inRuns, nil)
		if !ok || b.N != tt.want || b.From != a+"/pids.max" {
			t.Errorf("with %d in runs: %+v, %v, want %d", tt.inRuns, b, ok, tt.want)
		}
	}
	put(t, a+"/pids.max", "70")
	var room taskHeadroom
	if b, ok := room.remaining(leaf, top, 0, nil); !ok || b.N != 0 {
		t.Errorf("less than the reserve: %+v, %v, want nothing for runs", b, ok)
	}
}

// The tasks of a user are counted by its threads, and those in runs are not others.
func TestUserTasks(t *testing.T) {
	self := func() ([]int, error) { return []int{os.Getpid()}, nil }
	with, without := userTasks(os.Getuid(), nil), userTasks(os.Getuid(), self)
	if with < 2 || without >= with {
		t.Errorf("%d tasks of this user, %d without this process", with, without)
	}
}

func TestMemoryAbove_Own(t *testing.T) {
	r := kernelRoot(t)
	if err := os.WriteFile(r.Path()+"/daemon/memory.high", []byte("536870912"), 0); err != nil {
		t.Fatal(err)
	}
	if b, ok := MemoryAbove(); b.N != 512<<20 || !ok || filepath.Base(b.From) != "memory.high" {
		t.Errorf("%+v, %v, want 512 MiB of memory.high", b, ok)
	}
}

// runsHave reads a limit of all runs together.
func runsHave(t *testing.T, r *Root, file string) string {
	t.Helper()
	b, err := os.ReadFile(r.Path() + "/runs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// Runs together may have what a limit above leaves, and follow it when it is
// changed live: one run can't take what the daemon's next thread needs.
func TestRoot_FollowTasks(t *testing.T) {
	r := kernelRoot(t)
	if n := runsHave(t, r, "pids.max"); n == "max" {
		t.Error("the kernel's own limits leave something, and runs have no limit")
	}
	for _, limit := range []int64{200, 150, 300} {
		if err := os.WriteFile(r.Path()+"/pids.max", []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
			t.Fatal(err)
		}
		a, err := r.Follow()
		if err != nil || a.Tasks == nil || a.Tasks.From != r.Path()+"/pids.max" {
			t.Fatalf("%+v, %v", a, err)
		}
		if most := limit - reservedTasks(limit); a.Tasks.N <= 0 || a.Tasks.N >= most || runsHave(t, r, "pids.max") != fmt.Sprint(a.Tasks.N) {
			t.Errorf("limit %d: %d for runs, %s in force, want less than %d", limit, a.Tasks.N, runsHave(t, r, "pids.max"), most)
		}
	}
	g := newGroup(t, r, "bomb", Resources(Limits{PidsMax: 10000}))
	born(t, g.FD(), "fork", "400").ready(t)
	if n, err := cgroupfs.ParseFile(r.Path()+"/pids.current", cgroupfs.ParseValue); err != nil || n > 300-64 {
		t.Errorf("%d tasks below a limit of 300, %v: the reserve is gone", n, err)
	}
	end(t, g)
}

// The budget follows a limit that is changed live.
func TestRoot_SetBudget(t *testing.T) {
	r := kernelRoot(t)
	for _, n := range []int64{256 << 20, 128 << 20, 0} {
		want := fmt.Sprint(n)
		if n == 0 {
			want = "max"
		}
		if err := r.SetBudget(n); err != nil || runsHave(t, r, "memory.max") != want {
			t.Errorf("budget %d: %s in force, %v", n, runsHave(t, r, "memory.max"), err)
		}
	}
}
