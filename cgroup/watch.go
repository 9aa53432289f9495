package cgroup

import (
	"errors"
	"os"
	"time"
)

// watchEvery is how often the watch looks; a tree can pass its limit for so
// long before it is ended.
const watchEvery = 50 * time.Millisecond

// watch holds memory and pids where the kernel doesn't: one goroutine per root
// sums each live group and kills what is over. Whatever it says is an estimate:
// shared pages count once per process, page cache and files in tmpfs not at all.
type watch struct {
	root   *Root
	budget uint64        // bytes of all groups together; 0 where the kernel holds it or nobody set one
	alarm  chan struct{} // a group was made
}

func (r *Root) startWatch() {
	r.watch = &watch{root: r, alarm: make(chan struct{}, 1)}
	if r.enforced.Memory == Watch {
		r.watch.budget = uint64(r.budget)
	}
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
// together pass the budget, the biggest.
func (w *watch) look(groups []*Group) {
	seen := w.samples(groups)
	if w.tooMuch(seen) {
		time.Sleep(secondLook)
		for g, s := range w.samples(groups) {
			seen[g] = s.lesser(seen[g])
		}
	}
	var sum uint64
	var biggest *Group
	for g, s := range seen {
		g.seen.add(s)
		if what := g.settings.exceeded(s, w.root.enforced); what != "" {
			w.end(g, what)
			continue
		}
		sum += s.memory
		if biggest == nil || s.memory > seen[biggest].memory {
			biggest = g
		}
	}
	if w.budget > 0 && sum > w.budget {
		w.end(biggest, "budget")
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
	return w.budget > 0 && sum > w.budget
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
