package admit

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
	// Who is not ahead of now stands at now in any case.
	for c, p := range t.passes {
		if p <= t.now {
			delete(t.passes, c)
		}
	}
}
