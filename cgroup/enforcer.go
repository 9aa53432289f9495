package cgroup

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"penstock/cgroup/cgroupfs"
)

// enforceEvery is how often the enforcer looks. With the tick of the kernel's clock, at
// which that notes what a task uses, a tree can pass its limit for 50 ms before it is
// ended.
const enforceEvery = 40 * time.Millisecond

// enforcer holds memory and pids where the kernel doesn't: one goroutine per root
// sums each live group that can have grown, see growth.go, and kills what is over.
// Whatever it says is an estimate: shared pages count once per process, page cache and
// files in tmpfs not at all.
type enforcer struct {
	tree *Tree
	// budget is bytes of all groups together; 0 where the kernel holds it or none was set.
	budget atomic.Uint64
	// tasks is how many all groups together may have; -1 is any number.
	tasks atomic.Int64
	woken chan struct{} // a group was made

	seen map[*Group]*standing
	// unsummed is no less than the processor time that the groups had used after their
	// last sums when that of all together was all; both in microseconds.
	unsummed, all uint64
}

func newEnforcer(t *Tree) *enforcer {
	w := &enforcer{tree: t, woken: make(chan struct{}, 1), seen: map[*Group]*standing{}}
	w.tasks.Store(-1)
	return w
}

func (t *Tree) startEnforcer() {
	t.enforcer = newEnforcer(t)
	t.workers.Go(t.enforcer.run)
}

func (w *enforcer) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// run sleeps while there is no group.
func (w *enforcer) run() {
	tick := time.NewTicker(enforceEvery)
	defer tick.Stop()
	var groups []*Group // one list for all turns
	list := func() {
		clear(groups) // it keeps none that is gone
		groups = w.tree.appendLive(groups[:0])
	}
	for {
		list()
		if len(groups) == 0 {
			select {
			case <-w.tree.stop:
				return
			case <-w.woken:
				continue
			}
		}
		select {
		case <-w.tree.stop:
			return
		case <-tick.C:
		}
		list()
		w.enforce(groups)
	}
}

// enforce ends the groups over their own limit and, where all together pass the
// budget, the biggest; where they have more tasks than they may, the one that has most.
func (w *enforcer) enforce(groups []*Group) {
	fresh := w.refresh(groups)
	if len(fresh) > 0 && w.tooMuch(groups) {
		w.recheck(fresh)
	}
	for _, g := range fresh {
		g.history.add(w.seen[g].sum)
	}
	var biggest, busiest *Group
	for _, g := range groups {
		s := w.seen[g]
		if s == nil {
			continue
		}
		if what := g.limits.exceeded(s.sum, w.tree.enforced); what != "" {
			w.kill(g, what)
			continue
		}
		if biggest == nil || s.sum.memory > w.seen[biggest].sum.memory {
			biggest = g
		}
		if busiest == nil || s.sum.tasks > w.seen[busiest].sum.tasks {
			busiest = g
		}
	}
	sum := w.together(groups)
	if w.overBudget(sum.memory) {
		w.kill(biggest, "budget")
	}
	if w.overTasks(sum.tasks) {
		w.kill(busiest, "tasks")
	}
}

// refresh sums the groups that may be over a limit, which it gives.
func (w *enforcer) refresh(groups []*Group) (fresh []*Group) {
	for g := range w.seen {
		if g.isGone() {
			delete(w.seen, g)
		}
	}
	now := time.Now()
	all, err := w.tree.runs.CPUTime()
	for _, g := range groups {
		if err != nil || w.due(g, all, now) {
			fresh = w.sum(fresh, g, all, now)
		}
	}
	if !w.mayPass(groups, all) {
		return fresh
	}
	moved := w.moved(groups, all, now)
	if w.mayPass(groups, all) {
		for _, g := range moved {
			fresh = w.sum(fresh, g, all, now)
		}
		w.unsummed = 0
	}
	return fresh
}

// sum sums one group and adds it to those that were, unless it can't be.
func (w *enforcer) sum(fresh []*Group, g *Group, all uint64, now time.Time) []*Group {
	used, untimed := g.dir.CPUTime()
	s, err := g.sample()
	if err != nil {
		delete(w.seen, g)
		if !cgroupfs.IsVanished(err) && !errors.Is(err, os.ErrClosed) {
			w.tree.log.Warn("watch can't read a group", "group", g.id, "error", err)
		}
		// One whose processor time isn't known is summed twice in a turn: it may be gone by then.
		return slices.DeleteFunc(fresh, func(other *Group) bool { return other == g })
	}
	if untimed != nil {
		now = time.Time{} // it is summed at each turn
	}
	w.seen[g] = &standing{sum: s, at: now, used: used, all: all}
	if slices.Contains(fresh, g) {
		return fresh
	}
	return append(fresh, g)
}

// recheckAfter is how long after a sample that is too much the enforcer takes another
// and takes the lesser: where kcmp(2) is denied a child between vfork and execve
// can't be told from its parent (see sampleProcess), but it is soon over.
const recheckAfter = 5 * time.Millisecond

// recheck takes of each sum just taken and another one the lesser.
func (w *enforcer) recheck(fresh []*Group) {
	time.Sleep(recheckAfter)
	for _, g := range fresh {
		if s, err := g.sample(); err == nil {
			w.seen[g].sum = s.lesser(w.seen[g].sum)
		}
	}
}

// together is the sum of all groups but those that are over a limit of their own.
func (w *enforcer) together(groups []*Group) (sum sample) {
	for _, g := range groups {
		if s := w.seen[g]; s != nil && g.limits.exceeded(s.sum, w.tree.enforced) == "" {
			sum.memory += s.sum.memory
			sum.tasks += s.sum.tasks
		}
	}
	return sum
}

// tooMuch says whether any limit seems passed.
func (w *enforcer) tooMuch(groups []*Group) bool {
	for _, g := range groups {
		if s := w.seen[g]; s != nil && g.limits.exceeded(s.sum, w.tree.enforced) != "" {
			return true
		}
	}
	return w.overBudget(w.together(groups).memory)
}

func (w *enforcer) overBudget(bytes uint64) bool {
	budget := w.budget.Load()
	return budget > 0 && bytes > budget
}

// overTasks judges what all groups together have; where the kernel holds pids it
// refuses instead.
func (w *enforcer) overTasks(n uint64) bool {
	most := w.tasks.Load()
	return w.tree.enforced.Pids == Watch && most >= 0 && n > uint64(most)
}

func (w *enforcer) kill(g *Group, what string) {
	if !g.history.markExceeded(what) {
		return
	}
	if err := g.Kill(); err != nil {
		w.tree.log.Error("watch can't end a group over its limit", "group", g.id, "limit", what, "error", err)
	}
}

// exceeded says which limit of ours s is over; limits the kernel holds are none.
func (s groupLimits) exceeded(now sample, e Enforced) string {
	// Pages that were swapped out are in the sum: swap is no way around the cap.
	if e.Memory == Watch && s.memoryMax != nil && now.memory > uint64(*s.memoryMax) {
		return "memory"
	}
	if e.Pids == Watch && s.pidsMax != nil && now.tasks > uint64(*s.pidsMax) {
		return "pids"
	}
	return ""
}
