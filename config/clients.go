package config

import (
	"maps"
	"regexp"
	"slices"
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
