package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// clientTable builds [clients.*] and checks that what is reserved exists.
func (b *builder) clientTable(c Config) map[string]Client {
	table := make(map[string]Client, len(b.clients))
	reserved, last := 0, ""
	for _, name := range slices.Sorted(maps.Keys(b.clients)) {
		prefix := "clients." + name + "."
		client := Client{
			MaxRuns:      int(value[int64](b.layers, prefix+"max_runs")),
			ReservedRuns: int(value[int64](b.layers, prefix+"reserved_runs")),
			Weight:       int(value[int64](b.layers, prefix+"weight")),
			Operator:     value[bool](b.layers, prefix+"operator"),
		}
		b.checkClient(name, prefix, client, c)
		table[name] = client
		if client.ReservedRuns > 0 {
			reserved, last = reserved+client.ReservedRuns, prefix+"reserved_runs"
		}
	}
	if all := c.slots(); reserved > all && all > 0 {
		b.reject(last, "lower a client's reserved_runs, or raise budget.max_runs or budget.memory",
			"clients reserve %d slots together, and there are %d", reserved, all)
	}
	return table
}

// checkBeside refuses what is reserved where it keeps a client from ever running
// a backend, or anything.
func (b *builder) checkBeside(c Config) {
	all := 0
	for _, one := range c.Clients {
		all += one.ReservedRuns
	}
	if all == 0 || all > c.slots() {
		return // nothing is reserved, or more than there is, which was told
	}
	for _, client := range c.askers() {
		own := c.Clients[client].ReservedRuns
		key := b.reservation(c, client)
		if most := c.Budget.MaxRuns; most > 0 && all-own >= most {
			b.reject(key, "lower it, or raise budget.max_runs", "client %q can never run anything: all %d slots are reserved for others", client, most)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
			most, reserved := c.Backends[name].Limits.MemoryMax, int64(all-own)*c.Limits.MemoryMax
			if max(most, int64(own)*c.Limits.MemoryMax)+reserved > c.Budget.Memory {
				b.reject(key, "lower it or the backend's memory_max, or raise budget.memory",
					"client %q can never run backend %s: its memory_max of %s and the %s that are reserved for others are more than the budget of %s",
					client, name, Size(most), Size(reserved), Size(c.Budget.Memory))
				return
			}
		}
	}
}

// askers are the clients that are known to ask: those with a token, or without
// any the one that all on a TCP port are.
func (c Config) askers() []string {
	var names []string
	for _, t := range c.Tokens {
		names = append(names, t.Name)
	}
	if len(c.Tokens) == 0 && slices.ContainsFunc(c.Listen, func(a string) bool { return !strings.HasPrefix(a, "unix:") }) {
		names = append(names, "anonymous")
	}
	for name := range c.Clients {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reservation is the key of what is reserved for another client than that one.
func (b *builder) reservation(c Config, but string) string {
	for _, name := range slices.Sorted(maps.Keys(c.Clients)) {
		if name != but && c.Clients[name].ReservedRuns > 0 {
			return "clients." + name + ".reserved_runs"
		}
	}
	return "clients." + but + ".reserved_runs"
}

// slots is how many runs of the default size fit at once.
func (c Config) slots() int {
	slots := c.Budget.MaxRuns
	if c.Limits.MemoryMax > 0 {
		if n := int(c.Budget.Memory / c.Limits.MemoryMax); slots == 0 || n < slots {
			slots = n
		}
	}
	return slots
}

func (b *builder) checkClient(name, prefix string, client Client, c Config) {
	if f := checkClientName(name); f != nil {
		b.problem(b.clients[name], "clients."+name, f)
	}
	if client.Weight < 1 || client.Weight > 100 {
		b.reject(prefix+"weight", "", "must be from 1 to 100")
	}
	if client.MaxRuns > 0 && client.ReservedRuns > client.MaxRuns {
		b.reject(prefix+"reserved_runs", "", "%d is more than the client's max_runs of %d", client.ReservedRuns, client.MaxRuns)
	}
	if len(c.Tokens) == 0 || name == "anonymous" || isUID(name) {
		return
	}
	var tokens []string
	for _, t := range c.Tokens {
		tokens = append(tokens, t.Name)
	}
	if !slices.Contains(tokens, name) {
		b.problem(b.clients[name], "clients."+name, faultf(didYouMean(name, tokens), "no token has this name"))
	}
}

// checkClientName keeps names fit for a log, a header and a metric's label.
func checkClientName(name string) *fault {
	if name == "other" {
		return faultf("metrics count all unnamed clients under it", "%q is reserved", name)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(name) {
		return faultf("letters, digits, dot, dash and underscore, at most 64", "%q can't be a client's name", name)
	}
	return nil
}
