package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
	"penstock/internal/hostinfo"
)

func TestNewGroup_ID(t *testing.T) {
	r := &Tree{}
	for _, id := range []string{"", ".", "..", "a/b", "a b", "ä", strings.Repeat("x", 129)} {
		if _, err := r.NewGroup(id, nil); err == nil || !strings.Contains(err.Error(), "A-Za-z0-9") {
			t.Errorf("id %q: error %v", id, err)
		}
	}
}

// Such a directory could not be made, or would hide a limit.
func TestNewGroup_KernelNames(t *testing.T) {
	r := openRoot(t)
	for _, id := range []string{"cgroup.procs", "cgroup.x", "memory.max", "pids.max", "cpu.stat", "cpuset.cpus", "io.max", "hugetlb.2MB.max", "rdma.max", "misc.max", "irq.pressure", "dmem.max"} {
		if _, err := r.NewGroup(id, nil); !errors.Is(err, ErrName) || !strings.Contains(err.Error(), "new group "+id+": reserved name") {
			t.Errorf("id %q: error %v, want ErrName", id, err)
		}
	}
	for _, id := range []string{"cgroup", "memory", "my.cgroup.procs", "memoryx.max", "run.1"} {
		g, err := r.NewGroup(id, nil)
		if err != nil {
			t.Errorf("id %q: %v", id, err)
			continue
		}
		end(t, g)
	}
}

// A group is used once: not while it is there, by us or by others.
func TestNewGroup_NeverReused(t *testing.T) {
	r := openRoot(t)
	g := newGroup(t, r, "once", nil)
	if _, err := r.NewGroup("once", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("our own id again: %v, want ErrExist", err)
	}
	foreign := r.runs.Path + "/foreign"
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewGroup("foreign", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory that is there: %v, want ErrExist", err)
	}
	if err := os.Remove(foreign); err != nil {
		t.Errorf("the foreign directory: %v", err)
	}
	end(t, g)
	// Killed, removed and made anew, the name is as good as any: this is what
	// the kill_seq fault would break had the directory stayed.
	for range 2 {
		g := newGroup(t, r, "once", nil)
		if err := born(t, g.FD(), "quit").Wait(); err != nil {
			t.Errorf("child of a fresh group: %v", err)
		}
		end(t, g)
	}
}

func TestNewGroup_RefusedLimit(t *testing.T) {
	r := openRoot(t)
	res := Resources(Limits{MemoryMax: 16 << 20})
	if r.enforced.Memory == Kernel {
		// More pages than the kernel can count: taken, but as "max".
		res = Resources(Limits{MemoryMax: math.MaxInt64 - 1})
	}
	if _, err := r.NewGroup("refused", res); err == nil || !strings.Contains(err.Error(), "memory.max") {
		t.Errorf("error %v, want one about memory.max", err)
	}
	if r.enforced.Pids == Kernel {
		_, err := r.NewGroup("refused", Resources(Limits{PidsMax: 1 << 40}))
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "refused/pids.max: \"1099511627776\"") {
			t.Errorf("error %v, want EINVAL with file and value", err)
		}
	}
	if left, err := cgroupfs.Children(r.runs.Path); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	end(t, newGroup(t, r, "refused", nil))
}

// A file that swallows what is written is a limit that doesn't hold.
func TestDir_SetReadsBack(t *testing.T) {
	path := t.TempDir()
	if err := os.Symlink("/dev/null", path+"/pids.max"); err != nil {
		t.Fatal(err)
	}
	d, err := cgroupfs.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Set(cgroupfs.NumberLimit("pids.max", 7))
	if err == nil || !strings.Contains(err.Error(), `"7": reads back as ""`) {
		t.Errorf("error %v, want one that tells both values", err)
	}
}

func TestNewGroup_KernelLimits(t *testing.T) {
	r := kernelRoot(t)
	g := newGroup(t, r, "limits", Resources(Limits{
		MemoryMax: 64<<20 + 1, MemoryHigh: 60 << 20, SwapMax: 8 << 20, PidsMax: 77,
		CPUQuota: 50 * time.Millisecond, CPUWeight: 250,
	}))
	want := map[string]string{
		"memory.max": strconv.Itoa(64 << 20), "memory.high": strconv.Itoa(60 << 20),
		"memory.swap.max": strconv.Itoa(8 << 20), "memory.oom.group": "1", "pids.max": "77",
		"cpu.weight": "100", "cpu.max": "max 100000", // not before the start
	}
	for file, v := range want {
		if got := content(t, g.dir.Path+"/"+file); got != v {
			t.Errorf("%s: %s, want %s", file, got, v)
		}
	}
	if err := g.ApplyCPU(); err != nil {
		t.Fatal(err)
	}
	for file, v := range map[string]string{"cpu.weight": "250", "cpu.max": "50000 100000"} {
		if got := content(t, g.dir.Path+"/"+file); got != v {
			t.Errorf("%s after ApplyCPU: %s, want %s", file, got, v)
		}
	}
	plain := newGroup(t, r, "plain", nil)
	for file, v := range map[string]string{"memory.swap.max": "0", "memory.oom.group": "1"} {
		if got := content(t, plain.dir.Path+"/"+file); got != v {
			t.Errorf("without limits, %s: %s, want %s", file, got, v)
		}
	}
	end(t, g)
	end(t, plain)
}

func TestGroup_KillDetachedTrees(t *testing.T) {
	g := newGroup(t, openRoot(t), "tree", nil)
	leader := born(t, g.FD(), "daemonize", "3").ready(t)
	if err := leader.Wait(); err != nil {
		t.Fatalf("leader: %v", err)
	}
	pids, err := g.Procs()
	if err != nil || len(pids) == 0 {
		t.Fatalf("processes after the leader: %v (%v), want those it left", pids, err)
	}
	end(t, g)
	for _, pid := range pids {
		// Reaped or not, it runs no more.
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil && !strings.Contains(string(b), ") Z ") && !strings.Contains(string(b), ") X ") {
			t.Errorf("process %d lives on: %s", pid, b)
		}
	}
}

func TestGroup_KillForkStorm(t *testing.T) {
	g := newGroup(t, openRoot(t), "storm", Resources(Limits{PidsMax: 512}))
	born(t, g.FD(), "storm").ready(t)
	end(t, g)
}

func TestGroup_WaitEmptyBounded(t *testing.T) {
	g := newGroup(t, openRoot(t), "busy", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	for _, d := range []time.Duration{0, 20 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		err := g.WaitEmpty(ctx)
		cancel()
		if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %s: %v, want ErrBusy and DeadlineExceeded", d, err)
		} else if !strings.Contains(err.Error(), strconv.Itoa(v.Process.Pid)) {
			t.Errorf("after %s: %v doesn't name pid %d", d, err, v.Process.Pid)
		}
	}
	end(t, g)
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Errorf("after Remove: %v", err)
	}
}

// The nap is longer than the direct reads, so its end comes as a notification.
func TestGroup_WaitEmptyLateEnd(t *testing.T) {
	g := newGroup(t, openRoot(t), "nap", nil)
	born(t, g.FD(), "nap").ready(t)
	if err := g.WaitEmpty(within(t)); err != nil {
		t.Error(err)
	}
	if busy, err := g.Populated(); busy || err != nil {
		t.Errorf("populated %v (%v) after WaitEmpty", busy, err)
	}
	end(t, g)
}

func TestGroup_Nested(t *testing.T) {
	g := newGroup(t, openRoot(t), "outer", nil)
	inner := g.dir.Path + "/a/b"
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := cgroupfs.OpenDir(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	v := born(t, d.FD(), "sleep").ready(t)
	if busy, err := g.Populated(); !busy || err != nil {
		t.Errorf("populated %v (%v), want the nested process seen", busy, err)
	}
	pids, err := g.Procs()
	if err != nil {
		t.Error(err)
	}
	wantPID(t, pids, v.Process.Pid)
	end(t, g)
}

// cgroup.procs of a threaded group answers EOPNOTSUPP; its processes are listed
// in the group above.
func TestGroup_ThreadedBelow(t *testing.T) {
	g := newGroup(t, openRoot(t), "domain", nil)
	threaded := g.dir.Path + "/t"
	if err := os.Mkdir(threaded, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(threaded+"/cgroup.type", []byte("threaded"), 0); err != nil {
		t.Fatal(err)
	}
	v := born(t, g.FD(), "sleep").ready(t)
	if err := os.WriteFile(threaded+"/cgroup.threads", []byte(strconv.Itoa(v.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	pids, err := g.Procs()
	if err != nil {
		t.Error(err)
	}
	wantPID(t, pids, v.Process.Pid)
	end(t, g)
}

func TestGroup_RemoveBusy(t *testing.T) {
	log := &testLog{t: t}
	r := openRoot(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	g := newGroup(t, r, "busy", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	if err := g.Remove(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("Remove of a busy group: %v, want ErrBusy", err)
	} else if !strings.Contains(err.Error(), strconv.Itoa(v.Process.Pid)) {
		t.Errorf("%v doesn't name pid %d", err, v.Process.Pid)
	}
	select {
	case <-g.Gone():
	case <-within(t).Done():
		t.Fatal("the janitor did not remove the group")
	}
	if s := v.signal(t); s != unix.SIGKILL {
		t.Errorf("victim ended by %v, want SIGKILL", s)
	}
	if r.RemoveRetries() == 0 {
		t.Error("the janitor's work is not counted")
	}
	if n := r.Leaked(); n != 0 {
		t.Errorf("%d leaked groups after the janitor was done", n)
	}
	if _, err := os.Stat(g.dir.Path); !os.IsNotExist(err) {
		t.Errorf("directory: %v, want not exist", err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("Remove again: %v", err)
	}
}

func TestGroup_Usage(t *testing.T) {
	r := openRoot(t)
	g := newGroup(t, r, "usage", nil)
	v := born(t, g.FD(), "alloc", "20").ready(t)
	whole, err := r.Usage()
	if err != nil || whole.Processes != 1 {
		t.Errorf("root: %+v, %v, want one process", whole, err)
	}
	one, err := g.Usage()
	if err != nil {
		t.Error(err)
	}
	for name, u := range map[string]Usage{"group": one, "root": whole.Usage} {
		if u.CPUUsec == nil || *u.CPUUsec == 0 {
			t.Errorf("%s: %+v, want some use of the processor", name, u)
		}
		if r.enforced.Memory == Kernel && (u.MemoryBytes == nil || *u.MemoryBytes < 20<<20) {
			t.Errorf("%s: memory %v, want 20 MiB or more", name, u.MemoryBytes)
		}
		if r.enforced.Pids == Kernel && (u.Pids == nil || *u.Pids == 0) {
			t.Errorf("%s: pids %v, want some", name, u.Pids)
		}
	}
	_ = v
	end(t, g)
	if _, err := g.Usage(); err == nil {
		t.Error("usage of a removed group reads as zero, want an error")
	}
	if _, err := g.Receipt(); err == nil {
		t.Error("receipt of a removed group reads as empty, want an error")
	}
}

func TestGroupLimits_CheckEnforceable(t *testing.T) {
	watched := Enforced{Memory: Watch, Pids: Watch, Kill: Kernel}
	for _, tt := range []struct {
		name string
		l    Limits
		bad  string
	}{
		{"memory and pids", Limits{MemoryMax: 64 << 20, PidsMax: 9}, ""},
		{"default weight", Limits{CPUWeight: 100}, ""},
		{"weight", Limits{CPUWeight: 50}, "cpu.weight"},
		{"quota", Limits{CPUQuota: time.Second}, "cpu.max"},
		{"high", Limits{MemoryHigh: 64 << 20}, "memory.high"},
	} {
		s, err := parseLimits(Resources(tt.l))
		if err != nil {
			t.Fatal(tt.name, err)
		}
		err = s.checkEnforceable(watched)
		if (err == nil) != (tt.bad == "") || (err != nil && !strings.Contains(err.Error(), tt.bad)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.bad)
		}
	}
}

// A run that may write to its own group can nest groups so deep that no path
// names them any more (PATH_MAX): still they are seen, ended and removed.
func TestGroup_TooDeepForPath(t *testing.T) {
	r := openRoot(t)
	g := newGroup(t, r, "deep", nil)
	name := strings.Repeat("d", 250)
	at, err := cgroupfs.OpenDir(g.dir.Path)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := unix.Mkdirat(at.FD(), name, 0o755); err != nil {
			t.Fatal(err)
		}
		below, err := at.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		at.Close()
		at = below
	}
	v := born(t, at.FD(), "sleep").ready(t)
	at.Close()
	pids, err := g.Procs()
	if err != nil {
		t.Error(err)
	}
	wantPID(t, pids, v.Process.Pid)
	if u, err := r.Usage(); err != nil || u.Processes != 1 {
		t.Errorf("usage %+v, %v", u, err)
	}
	end(t, g)
}

func TestGroup_StorageIO(t *testing.T) {
	g := newGroup(t, openRoot(t), "io", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	own, err := hostinfo.Host.StorageBytes(os.Getpid())
	if err != nil {
		skipLacking(t, "task I/O accounting: "+err.Error())
	}
	if n, err := g.StorageIO(); err != nil || n > own+1<<30 {
		t.Errorf("%d bytes, %v", n, err)
	}
	end(t, g)
	v.signal(t)
}

func TestGroup_CPUWait(t *testing.T) {
	if _, err := os.Stat("/proc/pressure/cpu"); err != nil {
		t.Skipf("this kernel lacks PSI: %v", err) // User-Mode Linux has none
	}
	g := newGroup(t, openRoot(t), "wait", nil)
	for range 2*runtime.NumCPU() + 1 {
		born(t, g.FD(), "spin").ready(t)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if wait := g.CPUWait(); wait != nil && *wait > 0 {
			break
		} else if time.Now().After(end) {
			t.Errorf("no wait for a processor: %v", wait)
			break
		}
	}
	end(t, g)
}
