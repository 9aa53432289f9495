package cgroup

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup/cgroupfs"
)

// Kernel tests ask the kernel what it can do. Natively they run what this host
// allows; in the lab (test/lab/test) a skip is a failure.

func skipLacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("PENSTOCK_LAB") != "" {
		t.Fatalf("the lab lacks %s", what)
	}
	t.Skipf("this machine lacks %s", what)
}

var serial atomic.Int64

func uniqueName() string {
	return fmt.Sprintf("penstock-test-%d-%d", os.Getpid(), serial.Add(1))
}

// writableLocation is where we stand, if groups can be made there at all.
func writableLocation(t *testing.T) cgroupfs.Location {
	t.Helper()
	here, err := cgroupfs.FindLocation()
	if err != nil {
		skipLacking(t, "cgroup2: "+err.Error())
	}
	probe := filepath.Join(here.Own, uniqueName())
	if err := os.Mkdir(probe, 0o755); err != nil {
		skipLacking(t, "a writable cgroup2 tree: "+err.Error())
	}
	if err := os.Remove(probe); err != nil {
		t.Fatal(err)
	}
	return here
}

// openRoot opens a root that is closed with the test.
func openRoot(t *testing.T, change ...func(*Options)) *Tree {
	t.Helper()
	writableLocation(t)
	o := Options{Mode: Available, Name: uniqueName(), Logger: slog.New(slog.NewTextHandler(&testLog{t: t}, nil))}
	for _, c := range change {
		c(&o)
	}
	r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// kernelRoot is a root whose limits the kernel holds.
func kernelRoot(t *testing.T, change ...func(*Options)) *Tree {
	t.Helper()
	r := openRoot(t, change...)
	if r.enforced.Memory != Kernel || r.enforced.Pids != Kernel {
		skipLacking(t, "the memory and pids controllers in cgroup v2")
	}
	return r
}

// watchedRoot is a root whose limits our watch holds, on any kernel.
func watchedRoot(t *testing.T, change ...func(*Options)) *Tree {
	t.Helper()
	r := openRoot(t, change...)
	if r.enforcer == nil {
		r.enforced.Memory, r.enforced.Pids = Watch, Watch
		r.startEnforcer()
	}
	return r
}

func newGroup(t *testing.T, r *Tree, id string, res *specs.LinuxResources) *Group {
	t.Helper()
	g, err := r.NewGroup(id, res)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// within is the bound of everything that must happen soon.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// end takes a group through its end and returns its receipt.
func end(t *testing.T, g *Group) Receipt {
	t.Helper()
	ctx := within(t)
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := g.WaitEmpty(ctx); err != nil {
		t.Fatal(err)
	}
	rec, err := g.Receipt()
	if err != nil {
		t.Error(err)
	}
	if err := g.Remove(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-g.Gone():
	default:
		t.Error("group is removed but Gone is open")
	}
	if _, err := os.Stat(g.dir.Path); !os.IsNotExist(err) {
		t.Errorf("directory after Remove: %v, want not exist", err)
	}
	return rec
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func wantPID(t *testing.T, pids []int, pid int) {
	t.Helper()
	if !slices.Contains(pids, pid) {
		t.Errorf("pids %v, want %d among them", pids, pid)
	}
}

// testLog shows the root's log with the test and keeps it for questions.
type testLog struct {
	t   *testing.T
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Log(strings.TrimSpace(string(b)))
	return l.all.Write(b)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
