package admit

import "fmt"

// fits says whether an ask could start now. own is true when it would take only
// what is reserved for its client, which no other ask could have had.
// The caller holds the lock.
func (g *Gate) fits(a Ask) (fit, own bool) {
	need := g.reservation(a)
	own = g.unusedSlots(a.Client, 0) > 0 && need <= g.unusedMemory(a.Client, 0)
	if g.paused != "" && g.running > 0 {
		return false, own
	}
	runs, memory := g.running+1+g.unusedSlots(a.Client, 1), g.reserved+need+g.unusedMemory(a.Client, need)
	for client := range g.options.Clients {
		if client != a.Client {
			runs += g.unusedSlots(client, 0)
			memory += g.unusedMemory(client, 0)
		}
	}
	outside := g.outside
	if g.running == 0 && !g.exhausted(need) {
		outside = 0 // one may try what is left: its cap says what it may need, not what it will
	}
	fit = (g.options.MaxRuns <= 0 || runs <= g.options.MaxRuns) && (g.options.Budget <= 0 || memory <= g.options.Budget-outside)
	return fit, own
}

// exhausted tells whether what finished runs have left in memory leaves less than half
// of what a run may need: it would be started to be killed, and the next one, too.
func (g *Gate) exhausted(need int64) bool {
	return g.options.Budget > 0 && g.outside > 0 && g.options.Budget-g.outside < need/2
}

// neverFits says why an ask could not start even if nothing ran: the budget is too
// small for it, or for it beside what stays reserved for others; "" when it could.
// The caller holds the lock.
func (g *Gate) neverFits(a Ask) string {
	o := g.options
	slots, memory := 1+max(0, o.Clients[a.Client].Reserved-1), max(g.reservation(a), int64(o.Clients[a.Client].Reserved)*o.DefaultMemory)
	for client, c := range o.Clients {
		if client != a.Client {
			slots += c.Reserved
			memory += int64(c.Reserved) * o.DefaultMemory
		}
	}
	size := (a.Memory + mib - 1) / mib
	switch {
	case o.Budget > 0 && a.Memory > o.Budget:
		return fmt.Sprintf("a run of %d MiB can never fit the budget of %d MiB: lower limits.memory_max", size, o.Budget/mib)
	case o.Budget > 0 && memory > o.Budget:
		return fmt.Sprintf("a run of %d MiB can never fit the budget of %d MiB beside what is reserved for other clients: lower limits.memory_max", size, o.Budget/mib)
	case o.MaxRuns > 0 && slots > o.MaxRuns:
		return fmt.Sprintf("all %d slots are reserved for other clients", o.MaxRuns)
	}
	return ""
}

// reservation is what an ask takes of the budget.
func (g *Gate) reservation(a Ask) int64 {
	if !g.options.Overcommit {
		return a.Memory
	}
	return g.peaks.expect(a.Backend, a.Memory)
}

// unusedSlots is how many slots stay reserved for a client that has so many runs more.
func (g *Gate) unusedSlots(client string, more int) int {
	return max(0, g.options.Clients[client].Reserved-g.used[client].runs-more)
}

// unusedMemory is how many bytes stay reserved for a client that has so many more in use.
func (g *Gate) unusedMemory(client string, more int64) int64 {
	return max(0, int64(g.options.Clients[client].Reserved)*g.options.DefaultMemory-g.used[client].memory-more)
}

// clientUse is what a client's running slots hold.
type clientUse struct {
	runs   int
	memory int64 // bytes
}

// account takes a slot in (by 1) or out (by -1).
func (g *Gate) account(s *Slot, by int) {
	bytes := int64(by) * s.memory
	g.running += by
	g.reserved += bytes
	u := g.used[s.client]
	if u.runs += by; u.runs == 0 {
		delete(g.used, s.client)
		return
	}
	u.memory += bytes
	g.used[s.client] = u
}

// capped is true while a client has as many runs as it may have.
func (g *Gate) capped(client string) bool {
	most := g.options.Clients[client].MaxRuns
	return most > 0 && g.used[client].runs >= most
}
