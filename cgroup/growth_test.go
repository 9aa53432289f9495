package cgroup

import (
	"io"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// grower is a victim that grows when it is told to, and a Group of its own with limits
// that only the test's enforcer knows.
type grower struct {
	*victim
	group *Group
	wake  io.Writer
}

func newGrower(t *testing.T, r *Tree, limits groupLimits, mib string) *grower {
	t.Helper()
	g := newGroup(t, r, "grower", nil)
	c := self("grow", mib)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	v := start(t, c).ready(t)
	t.Cleanup(func() { end(t, g) })
	return &grower{v, &Group{id: g.id, tree: r, dir: g.dir, limits: limits, gone: g.gone}, stdin}
}

func (g *grower) grow(t *testing.T) {
	t.Helper()
	if _, err := g.wake.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	g.ready(t)
}

// watching is an enforcer for which no sum is ever too old: it goes by processor time alone.
func watching(t *testing.T, r *Tree, g *Group) (w *enforcer, look func() (summed bool)) {
	w = newEnforcer(r)
	last := func() time.Time { return w.seen[g].at }
	return w, func() bool {
		t.Helper()
		if s := w.seen[g]; s != nil {
			s.at = time.Now()
		}
		before := w.seen[g]
		w.enforce([]*Group{g})
		if w.seen[g] == nil {
			t.Fatalf("the watch doesn't know the group any more, last seen %v", last())
		}
		return w.seen[g] != before
	}
}

// A run that rests isn't summed, and one that has grown after a long rest is caught at the
// enforcer's next turn.
func TestEnforcer_GrowthAfterRest(t *testing.T) {
	r := watchedRoot(t)
	g := newGrower(t, r, groupLimits{memoryMax: new(int64(64 << 20))}, "96")
	_, look := watching(t, r, g.group)
	rests(t, look)
	g.grow(t)
	if !look() {
		t.Error("a group that used processor time was not summed")
	}
	if s := waitSignal(t, g.victim); s != unix.SIGKILL || g.group.history.exceeded != "memory" {
		t.Errorf("ended by %v for %q, want SIGKILL for memory", s, g.group.history.exceeded)
	}
}

// The same of all runs together.
func TestEnforcer_BudgetAfterRest(t *testing.T) {
	r := watchedRoot(t)
	g := newGrower(t, r, groupLimits{}, "96")
	w, look := watching(t, r, g.group)
	w.budget.Store(64 << 20)
	rests(t, look)
	g.grow(t)
	look()
	if s := waitSignal(t, g.victim); s != unix.SIGKILL || g.group.history.exceeded != "budget" {
		t.Errorf("ended by %v for %q, want SIGKILL for the budget", s, g.group.history.exceeded)
	}
}

// rests wants a look without a sum, soon: a runtime that begins to wait is busy a little longer.
func rests(t *testing.T, look func() (summed bool)) {
	t.Helper()
	for ctx := within(t); look(); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("a run that rests is summed at every look")
		}
	}
}

// What others do to a group costs it no time: it is summed now and then all the same.
func TestEnforcer_OldSum(t *testing.T) {
	r := watchedRoot(t)
	g := newGroup(t, r, "old", nil)
	w := newEnforcer(r)
	w.enforce([]*Group{g})
	first := w.seen[g]
	w.enforce([]*Group{g})
	if w.seen[g] != first {
		t.Error("an empty group was summed twice")
	}
	first.at = time.Now().Add(-quietAge)
	w.enforce([]*Group{g})
	if w.seen[g] != first {
		t.Error("an empty group was summed again after 2 s")
	}
	first.at = time.Now().Add(-restAge)
	w.enforce([]*Group{g})
	if w.seen[g] == first {
		t.Error("an old sum was not taken anew")
	}
	end(t, g)
}

func TestGroupLimits_Slack(t *testing.T) {
	byWatch := Enforced{Memory: Watch, Pids: Watch}
	both := groupLimits{memoryMax: new(int64(100 * touchRate)), pidsMax: new(int64(20))}
	for _, tt := range []struct {
		name string
		l    groupLimits
		now  sample
		e    Enforced
		want uint64
	}{
		{"no limit", groupLimits{}, sample{memory: 1 << 40, tasks: 1 << 20}, byWatch, busyTime},
		{"memory is near", both, sample{memory: 90 * touchRate}, byWatch, 10},
		{"tasks are near", both, sample{tasks: 19}, byWatch, forkTime},
		{"at the limit", both, sample{memory: 100 * touchRate}, byWatch, 0},
		{"over it", both, sample{tasks: 99}, byWatch, 0},
		{"the kernel holds both", both, sample{memory: 1 << 40}, Enforced{Memory: Kernel, Pids: Kernel}, busyTime},
		{"far away", groupLimits{memoryMax: new(int64(1 << 40))}, sample{}, byWatch, busyTime},
	} {
		if got := tt.l.slack(tt.now, tt.e); got != tt.want {
			t.Errorf("%s: %d us, want %d", tt.name, got, tt.want)
		}
	}
}

func TestEnforcer_MayPass(t *testing.T) {
	g := &Group{}
	for _, tt := range []struct {
		name          string
		budget        uint64
		tasks         int64
		unsummed, all uint64
		want          bool
	}{
		{"nothing to pass", 0, -1, 0, 1 << 40, false},
		{"all rest", 20 * touchRate, 12, 0, 1000, false},
		{"as much as is left", 20 * touchRate, -1, 0, 1010, false},
		{"more than is left", 20 * touchRate, -1, 0, 1011, true},
		{"more than is left, in parts", 20 * touchRate, -1, 6, 1005, true},
		{"tasks", 0, 12, 0, 1000 + 3*forkTime, true},
		{"no such tasks", 0, 12, 0, 1000 + 2*forkTime, false},
	} {
		w := newEnforcer(&Tree{enforced: Enforced{Memory: Watch, Pids: Watch}})
		w.seen[g] = &standing{sum: sample{memory: 10 * touchRate, tasks: 10}}
		w.budget.Store(tt.budget)
		w.tasks.Store(tt.tasks)
		w.unsummed, w.all = tt.unsummed, 1000
		if got := w.mayPass([]*Group{g}, tt.all); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
