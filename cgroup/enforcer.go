package cgroup

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"penstock/cgroup/cgroupfs"
)

// enforceEvery is how often the enforcer samples; a tree can pass its limit for so
// long before it is ended.
const enforceEvery = 50 * time.Millisecond

// enforcer holds memory and pids where the kernel doesn't: one goroutine per root
// sums each live group and kills what is over. Whatever it says is an estimate:
// shared pages count once per process, page cache and files in tmpfs not at all.
type enforcer struct {
	tree *Tree
	// budget is bytes of all groups together; 0 where the kernel holds it or none was set.
	budget atomic.Uint64
	// tasks is how many all groups together may have; -1 is any number.
	tasks atomic.Int64
	woken chan struct{} // a group was made
}

func (t *Tree) startEnforcer() {
	t.enforcer = &enforcer{tree: t, woken: make(chan struct{}, 1)}
	t.enforcer.tasks.Store(-1)
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
	for {
		groups := w.tree.liveGroups()
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
		w.enforce(w.tree.liveGroups())
	}
}

// recheckAfter is how long after a sample that is too much the enforcer takes another
// and takes the lesser: where kcmp(2) is denied a child between vfork and execve
// can't be told from its parent (see sampleProcess), but it is soon over.
const recheckAfter = 5 * time.Millisecond

// enforce samples every group, ends those over their own limit and, where all
// together pass the budget, the biggest; where they have more tasks than they
// may, the one that has most.
func (w *enforcer) enforce(groups []*Group) {
	seen := w.samples(groups)
	if w.tooMuch(seen) {
		time.Sleep(recheckAfter)
		for g, s := range w.samples(groups) {
			seen[g] = s.lesser(seen[g])
		}
	}
	var sum sample
	var biggest, busiest *Group
	for g, s := range seen {
		g.history.add(s)
		if what := g.limits.exceeded(s, w.tree.enforced); what != "" {
			w.kill(g, what)
			continue
		}
		sum.memory += s.memory
		sum.tasks += s.tasks
		if biggest == nil || s.memory > seen[biggest].memory {
			biggest = g
		}
		if busiest == nil || s.tasks > seen[busiest].tasks {
			busiest = g
		}
	}
	if w.overBudget(sum.memory) {
		w.kill(biggest, "budget")
	}
	if w.overTasks(sum.tasks) {
		w.kill(busiest, "tasks")
	}
}

func (w *enforcer) samples(groups []*Group) map[*Group]sample {
	seen := make(map[*Group]sample, len(groups))
	for _, g := range groups {
		s, err := g.sample()
		if err == nil {
			seen[g] = s
		} else if !cgroupfs.IsVanished(err) && !errors.Is(err, os.ErrClosed) {
			w.tree.log.Warn("watch can't read a group", "group", g.id, "error", err)
		}
	}
	return seen
}

// tooMuch says whether any limit seems passed.
func (w *enforcer) tooMuch(seen map[*Group]sample) bool {
	var sum uint64
	for g, s := range seen {
		if g.limits.exceeded(s, w.tree.enforced) != "" {
			return true
		}
		sum += s.memory
	}
	return w.overBudget(sum)
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
