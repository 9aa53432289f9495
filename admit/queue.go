package admit

import (
	"cmp"
	"slices"
)

// passMax is how often others may start past the head of a line that does not
// fit. Then room is kept for it: without a bound, small runs would starve a
// large one; with none allowed, one large ask would idle the machine.
const passMax = 8

// queue is one line of waiters per client. The ring holds the lines that are
// not empty; among those whose turns are equal the first goes first.
type queue struct {
	ring  []*line
	turns turns
}

type line struct {
	client  string
	pass    uint64    // its turn comes when no other line's is smaller
	waiters []*waiter // first come, first served, whatever their size
}

func (q *queue) push(w *waiter) {
	l := q.line(w.ask.Client)
	if l == nil {
		l = &line{client: w.ask.Client, pass: q.turns.pass(w.ask.Client)}
		q.ring = append(q.ring, l)
	}
	l.waiters = append(l.waiters, w)
	w.notePosition(len(l.waiters))
}

// next picks the client whose turn it is, takes its head out of the queue and
// returns it; nil when none may start now. This is the one place that decides between clients.
// A client at its cap keeps its turn, and no room is kept for it meanwhile, nor
// for an ask that can't fit.
func (q *queue) next(capped func(client string) bool, fits func(Ask) (fit, own bool), neverFits func(Ask) string) *waiter {
	slices.SortStableFunc(q.ring, func(a, b *line) int { return cmp.Compare(a.pass, b.pass) })
	var skipped []*waiter
	full := false
	for _, l := range q.ring {
		if capped(l.client) {
			continue
		}
		head := l.waiters[0]
		fit, own := fits(head.ask)
		// What is reserved for a client takes nothing from those before it.
		if fit && (own || !full) {
			if !own {
				for _, w := range skipped {
					w.passed++
				}
			}
			q.take(l, own)
			return head
		}
		skipped = append(skipped, head)
		full = full || head.passed >= passMax && neverFits(head.ask) == ""
	}
	return nil
}

// take removes the head of a line that had its turn: among equals it is last now. A
// start in a slot of the client's own is no turn: counted as one, it would put the
// present forward to a pass that no other has reached, where all others are equal.
func (q *queue) take(l *line, own bool) {
	if !own {
		q.turns.spend(l.client, l.pass)
		l.pass = q.turns.pass(l.client)
	}
	l.drop(0)
	q.removeLine(l)
	if len(l.waiters) > 0 {
		q.ring = append(q.ring, l)
	}
}

// removeLine takes a line out of the ring.
func (q *queue) removeLine(l *line) {
	q.ring = slices.DeleteFunc(q.ring, func(o *line) bool { return o == l })
}

// remove takes one out that waits no longer; the line keeps its turn.
func (q *queue) remove(w *waiter) {
	l := q.line(w.ask.Client)
	if l == nil {
		return
	}
	if i := slices.Index(l.waiters, w); i >= 0 {
		l.drop(i)
	}
	if len(l.waiters) == 0 {
		q.removeLine(l)
	}
}

// clear empties the queue and returns all waiters.
func (q *queue) clear() []*waiter {
	var all []*waiter
	for _, l := range q.ring {
		all = append(all, l.waiters...)
	}
	q.ring = nil
	return all
}

func (q *queue) line(client string) *line {
	for _, l := range q.ring {
		if l.client == client {
			return l
		}
	}
	return nil
}

// waiting is how many asks of a client stand in the queue.
func (q *queue) waiting(client string) int {
	if l := q.line(client); l != nil {
		return len(l.waiters)
	}
	return 0
}

// position is the position in the client's own line, from 1; 0 is not in it.
func (q *queue) position(w *waiter) int {
	if l := q.line(w.ask.Client); l != nil {
		return slices.Index(l.waiters, w) + 1
	}
	return 0
}

// ahead estimates the grants before one that would come to the end of a
// client's line, itself included: the clients take turns.
func (q *queue) ahead(client string) int {
	total, own, others := 0, 0, 0
	for _, l := range q.ring {
		total += len(l.waiters)
		if l.client == client {
			own = len(l.waiters)
		} else {
			others++
		}
	}
	return min(total, own+(own+1)*others) + 1
}

func (l *line) drop(i int) {
	l.waiters = slices.Delete(l.waiters, i, i+1)
	for j := i; j < len(l.waiters); j++ {
		l.waiters[j].notePosition(j + 1)
	}
}

// turnUnit is what one turn costs a client of weight 1. Any weight up to 100
// divides it well enough.
const turnUnit = 1 << 20

// turns is stride scheduling (Waldspurger and Weihl, MIT/LCS/TM-528): each start
// puts a client's pass forward by turnUnit / weight, and the smallest pass goes
// first.
type turns struct {
	weight func(client string) int
	// now is the pass of the latest start. A client that comes to wait begins
	// there: having been idle earns nothing.
	now    uint64
	passes map[string]uint64
}

// pass is where a client stands.
func (t *turns) pass(client string) uint64 {
	return max(t.passes[client], t.now)
}

// spend counts one start of a client that waited with pass at.
func (t *turns) spend(client string, at uint64) {
	t.now = max(t.now, at)
	t.passes[client] = at + turnUnit/uint64(max(1, t.weight(client)))
	// A client that is not ahead of now stands at now in any case.
	for c, p := range t.passes {
		if p <= t.now {
			delete(t.passes, c)
		}
	}
}
