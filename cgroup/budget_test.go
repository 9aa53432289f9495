package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"penstock/cgroup/cgroupfs"
	"penstock/cgroup/root"
)

func TestMemoryAbove_Own(t *testing.T) {
	r := kernelRoot(t)
	if err := os.WriteFile(r.Path()+"/daemon/memory.high", []byte("536870912"), 0); err != nil {
		t.Fatal(err)
	}
	if b, ok := root.MemoryAbove(); b.N != 512<<20 || !ok || filepath.Base(b.From) != "memory.high" {
		t.Errorf("%+v, %v, want 512 MiB of memory.high", b, ok)
	}
}

// runsHave reads a limit of all runs together.
func runsHave(t *testing.T, r *Tree, file string) string {
	t.Helper()
	b, err := os.ReadFile(r.Path() + "/runs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// Runs together may have what a limit above leaves, and follow it when it is
// changed live: one run can't take what the daemon's next thread needs.
func TestTree_FollowTasks(t *testing.T) {
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
		if most := limit - 64 - limit/32; a.Tasks.N <= 0 || a.Tasks.N >= most || runsHave(t, r, "pids.max") != fmt.Sprint(a.Tasks.N) {
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
func TestTree_SetBudget(t *testing.T) {
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
