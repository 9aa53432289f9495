package cgroup

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

func TestEnforcer_Memory(t *testing.T) {
	r := watchedRoot(t)
	g := newGroup(t, r, "hog", Resources(Limits{MemoryMax: 48 << 20}))
	if s := waitSignal(t, born(t, g.FD(), "alloc", "96")); s != unix.SIGKILL {
		t.Errorf("hog ended by %v, want SIGKILL by the watch", s)
	}
	rec := end(t, g)
	if rec.Exceeded != "memory" || rec.EnforcedBy.Memory != Watch {
		t.Errorf("receipt %+v, want memory exceeded, held by the watch", rec)
	}
	if !slices.Contains(rec.Estimated, "memory") {
		t.Errorf("estimated %v, want memory among them", rec.Estimated)
	}
	if rec.MemoryMaxBytes == nil || *rec.MemoryMaxBytes != 48<<20 {
		t.Errorf("limit in the receipt %v, want 48 MiB", rec.MemoryMaxBytes)
	}
	if rec.MemoryPeakBytes == nil || *rec.MemoryPeakBytes <= 48<<20 {
		t.Errorf("peak %v, want over the limit", rec.MemoryPeakBytes)
	}
}

func TestEnforcer_Pids(t *testing.T) {
	g := newGroup(t, watchedRoot(t), "forker", Resources(Limits{PidsMax: 30}))
	if s := waitSignal(t, born(t, g.FD(), "fork", "60")); s != unix.SIGKILL {
		t.Errorf("forker ended by %v, want SIGKILL by the watch", s)
	}
	rec := end(t, g)
	if rec.Exceeded != "pids" || !slices.Contains(rec.Estimated, "pids") {
		t.Errorf("receipt %+v, want pids exceeded and estimated", rec)
	}
	if rec.PidsPeak == nil || *rec.PidsPeak <= 30 {
		t.Errorf("peak %v, want over 30", rec.PidsPeak)
	}
}

// All runs together pass the budget: the biggest goes, the others stay.
func TestEnforcer_Budget(t *testing.T) {
	r := watchedRoot(t)
	small, big := newGroup(t, r, "small", nil), newGroup(t, r, "big", nil)
	born(t, small.FD(), "alloc", "10").ready(t)
	hog := born(t, big.FD(), "alloc", "40").ready(t)
	var sum uint64
	for _, g := range []*Group{small, big} {
		s, err := g.sample()
		if err != nil {
			t.Fatal(err)
		}
		sum += s.memory
	}
	for _, budget := range []uint64{sum + 16<<20, sum - 4<<20} {
		w := newEnforcer(r)
		w.budget.Store(budget)
		if busy, err := big.Populated(); err != nil || !busy {
			t.Fatalf("the big one: populated %v (%v) before the budget was passed", busy, err)
		}
		w.enforce([]*Group{small, big})
	}
	if s := waitSignal(t, hog); s != unix.SIGKILL {
		t.Errorf("the biggest ended by %v, want SIGKILL by the watch", s)
	}
	if rec := end(t, big); rec.Exceeded != "budget" {
		t.Errorf("exceeded %q, want budget", rec.Exceeded)
	}
	if busy, err := small.Populated(); err != nil || !busy {
		t.Errorf("the small one: populated %v (%v), want alive", busy, err)
	}
	end(t, small)
}

// All runs together have more tasks than they may: the one that has most goes.
func TestEnforcer_TasksOfAllRuns(t *testing.T) {
	r := watchedRoot(t)
	few, many := newGroup(t, r, "few", nil), newGroup(t, r, "many", nil)
	born(t, few.FD(), "sleep").ready(t)
	born(t, many.FD(), "fork", "20").ready(t)
	var sum int64
	for _, g := range []*Group{few, many} {
		s, err := g.sample()
		if err != nil {
			t.Fatal(err)
		}
		sum += int64(s.tasks)
	}
	w := newEnforcer(r)
	for _, most := range []int64{-1, sum, sum - 1} {
		w.tasks.Store(most)
		if busy, err := many.Populated(); err != nil || !busy {
			t.Fatalf("the one that has most: populated %v (%v) before the limit was passed", busy, err)
		}
		w.enforce([]*Group{few, many})
	}
	if rec := end(t, many); rec.Exceeded != "tasks" {
		t.Errorf("exceeded %q, want tasks", rec.Exceeded)
	}
	if busy, err := few.Populated(); err != nil || !busy {
		t.Errorf("the other one: populated %v (%v), want alive", busy, err)
	}
	end(t, few)
}

func TestEnforcer_Usage(t *testing.T) {
	r := watchedRoot(t)
	g := newGroup(t, r, "seen", Resources(Limits{MemoryMax: 256 << 20}))
	born(t, g.FD(), "alloc", "20").ready(t)
	for ctx := within(t); ; time.Sleep(enforceEvery) {
		s, ok := g.history.last()
		if ok && s.memory > 20<<20 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the watch saw %+v (%v), want 20 MiB", s, ok)
		}
	}
	whole := func() (Usage, error) {
		u, err := r.Usage()
		return u.Usage, err
	}
	for name, read := range map[string]func() (Usage, error){"group": g.Usage, "root": whole} {
		u, err := read()
		if err != nil || u.MemoryBytes == nil || *u.MemoryBytes < 20<<20 || u.Pids == nil || *u.Pids == 0 {
			t.Errorf("%s: %+v (%v), want the watch's figures", name, u, err)
		}
	}
	if rec := end(t, g); rec.Exceeded != "" {
		t.Errorf("an honest run exceeded %q", rec.Exceeded)
	}
}

// canCompare says whether kcmp(2) works here: it needs CONFIG_KCMP, and some
// seccomp profiles deny it.
func canCompare() bool {
	self := uintptr(os.Getpid())
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, self, self, kcmpVM, 0, 0, 0)
	return errno == 0 && order == 0
}

// A child is born on the daemon's own memory and keeps it until execve. A frozen
// group holds it there: with kcmp the enforcer sees through it, without (as in the
// lab) a second look is the cure, once the child has gone on.
func TestEnforcer_VforkChild(t *testing.T) {
	const limit = 48 << 20
	// The spawn keeps a processor and a collection would wait for it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	ballast := make([]byte, limit+16<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	var l Limits
	if canCompare() {
		l.MemoryMax = limit
	}
	g := newGroup(t, watchedRoot(t), "unborn", Resources(l))
	if err := g.dir.Write("cgroup.freeze", "1"); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	c := exec.Command("/bin/sleep", "60")
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	go func() { started <- c.Start() }()
	for ctx := within(t); ; time.Sleep(time.Millisecond) {
		if busy, err := g.Populated(); err != nil || ctx.Err() != nil {
			t.Fatalf("waiting for the child: %v, %v", err, ctx.Err())
		} else if busy {
			break
		}
	}
	// Longer than the enforcer takes to act.
	time.Sleep(3 * enforceEvery)
	unborn, err := g.sample()
	if err != nil || unborn.tasks != 1 {
		t.Errorf("a child that has not begun counts as %+v (%v), want one task", unborn, err)
	}
	if canCompare() && unborn.memory > 0 {
		t.Errorf("a child that has not begun counts with %d bytes, want none", unborn.memory)
	}
	if err := g.dir.Write("cgroup.freeze", "0"); err != nil {
		t.Error(err)
	}
	if err := <-started; err != nil {
		t.Fatalf("an innocent child: %v", err)
	}
	born, err := g.sample()
	if born = born.lesser(unborn); err != nil || born.memory > limit || born.tasks != 1 {
		t.Errorf("a second look counts %+v (%v), want the child alone", born, err)
	}
	if rec := end(t, g); rec.Exceeded != "" {
		t.Errorf("an innocent run exceeded %q", rec.Exceeded)
	}
	if err := c.Wait(); err == nil {
		t.Error("the child ended before it was told to")
	}
	runtime.KeepAlive(ballast)
}

func TestGroupLimits_Exceeded(t *testing.T) {
	byWatch, byKernel := Enforced{Memory: Watch, Pids: Watch}, Enforced{Memory: Kernel, Pids: Kernel}
	s := groupLimits{memoryMax: new(int64(100)), pidsMax: new(int64(5))}
	for _, tt := range []struct {
		now  sample
		e    Enforced
		want string
	}{
		{sample{memory: 100, tasks: 5}, byWatch, ""},
		{sample{memory: 101, tasks: 5}, byWatch, "memory"},
		{sample{memory: 1, tasks: 6}, byWatch, "pids"},
		{sample{memory: 999, tasks: 999}, byKernel, ""},
	} {
		if got := s.exceeded(tt.now, tt.e); got != tt.want {
			t.Errorf("%+v by %v: %q, want %q", tt.now, tt.e.Memory, got, tt.want)
		}
	}
}

// A group that was removed under us has no receipt of the kernel's, but
// what the enforcer ended it for is still known.
func TestReceipt_VanishedGroup(t *testing.T) {
	r := openRoot(t)
	g := newGroup(t, r, "vanished", nil)
	g.history.markExceeded("memory")
	if err := cgroupfs.Rmdir(g.dir.Path); err != nil {
		t.Fatal(err)
	}
	rec, err := g.Receipt()
	if err == nil || rec.Exceeded != "memory" || rec.CPUUserUsec != nil || rec.EnforcedBy != r.enforced {
		t.Errorf("receipt %+v, %v", rec, err)
	}
	if err := g.WaitEmpty(t.Context()); err != nil {
		t.Errorf("wait: %v", err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// A group that goes between two sums of one turn took the whole daemon with it.
func TestEnforcer_GoneWithinATurn(t *testing.T) {
	r := watchedRoot(t)
	w := newEnforcer(r)
	g, other := newGroup(t, r, "going", nil), newGroup(t, r, "staying", nil)
	now := time.Now()
	fresh := w.sum(w.sum(nil, g, 0, now), other, 0, now)
	end(t, g)
	fresh = w.sum(w.sum(fresh, g, 0, now), other, 0, now)
	if !slices.Equal(fresh, []*Group{other}) || w.seen[g] != nil {
		t.Errorf("%d groups were summed, want the one that is there", len(fresh))
	}
	end(t, other)
}
