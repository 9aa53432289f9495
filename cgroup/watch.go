package cgroup

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// watchEvery is how often the watch looks; a tree can pass its limit for so
// long before it is ended.
const watchEvery = 50 * time.Millisecond

// watch holds memory and pids where the kernel doesn't: one goroutine per root
// sums each live group and kills what is over. Whatever it says is an estimate:
// shared pages count once per process, page cache and files in tmpfs not at all.
type watch struct {
	root *Root
	// budget is bytes of all groups together; 0 where the kernel holds it or nobody set one.
	budget atomic.Uint64
	// tasks is how many all groups together may have; -1 is any number.
	tasks atomic.Int64
	alarm chan struct{} // a group was made
}

func (r *Root) startWatch() {
	r.watch = &watch{root: r, alarm: make(chan struct{}, 1)}
	r.watch.tasks.Store(-1)
	r.workers.Go(r.watch.run)
}

func (w *watch) wake() {
	select {
	case w.alarm <- struct{}{}:
	default:
	}
}

// run sleeps while there is no group.
func (w *watch) run() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		groups := w.root.live()
		if len(groups) == 0 {
			select {
			case <-w.root.stop:
				return
			case <-w.alarm:
				continue
			}
		}
		select {
		case <-w.root.stop:
			return
		case <-tick.C:
		}
		w.look(w.root.live())
	}
}

// secondLook is how long after a look that found too much the watch looks again
// and takes the lesser: where kcmp(2) is denied a child between vfork and execve
// can't be told from its parent (see sampleProcess), but it is soon over.
const secondLook = 5 * time.Millisecond

// look samples every group, ends those over their own limit and, where all
// together pass the budget, the biggest; where they have more tasks than they
// may, the one that has most.
func (w *watch) look(groups []*Group) {
	seen := w.samples(groups)
	if w.tooMuch(seen) {
		time.Sleep(secondLook)
		for g, s := range w.samples(groups) {
			seen[g] = s.lesser(seen[g])
		}
	}
	var sum sample
	var biggest, busiest *Group
	for g, s := range seen {
		g.seen.add(s)
		if what := g.settings.exceeded(s, w.root.enforced); what != "" {
			w.end(g, what)
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
		w.end(biggest, "budget")
	}
	if w.overTasks(sum.tasks) {
		w.end(busiest, "tasks")
	}
}

func (w *watch) samples(groups []*Group) map[*Group]sample {
	seen := make(map[*Group]sample, len(groups))
	for _, g := range groups {
		s, err := g.sample()
		if err == nil {
			seen[g] = s
		} else if !vanished(err) && !errors.Is(err, os.ErrClosed) {
			w.root.log.Warn("watch can't read a group", "group", g.id, "error", err)
		}
	}
	return seen
}

// tooMuch says whether any limit looks passed.
func (w *watch) tooMuch(seen map[*Group]sample) bool {
	var sum uint64
	for g, s := range seen {
		if g.settings.exceeded(s, w.root.enforced) != "" {
			return true
		}
		sum += s.memory
	}
	return w.overBudget(sum)
}

func (w *watch) overBudget(bytes uint64) bool {
	budget := w.budget.Load()
	return budget > 0 && bytes > budget
}

// overTasks judges what all groups together have; where the kernel holds pids it
// refuses instead.
func (w *watch) overTasks(n uint64) bool {
	most := w.tasks.Load()
	return w.root.enforced.Pids == Watch && most >= 0 && n > uint64(most)
}

func (w *watch) end(g *Group, what string) {
	if !g.seen.exceed(what) {
		return
	}
	if err := g.Kill(); err != nil {
		w.root.log.Error("watch can't end a group over its limit", "group", g.id, "limit", what, "error", err)
	}
}

// exceeded says which limit of ours s is over; limits the kernel holds are none.
func (s settings) exceeded(now sample, e Enforced) string {
	// Pages that were swapped out are in the sum: swap is no way around the cap.
	if e.Memory == Watch && s.memoryMax != nil && now.memory > uint64(*s.memoryMax) {
		return "memory"
	}
	if e.Pids == Watch && s.pidsMax != nil && now.tasks > uint64(*s.pidsMax) {
		return "pids"
	}
	return ""
}
