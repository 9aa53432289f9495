package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"penstock/internal/bytesize"
	"penstock/internal/hint"
)

// checkClients looks at [clients.*], and whether what is reserved exists.
func (l *loader) checkClients() {
	c := l.config
	reserved, last := 0, ""
	for _, name := range slices.Sorted(maps.Keys(c.Clients)) {
		prefix := "clients." + name + "."
		client := c.Clients[name]
		l.checkClient(name, prefix, client)
		if client.ReservedRuns > 0 {
			reserved, last = reserved+client.ReservedRuns, prefix+"reserved_runs"
		}
	}
	if all := c.slots(); reserved > all && all > 0 {
		l.fail(last, "lower a client's reserved_runs, or raise budget.max_runs or budget.memory",
			"clients reserve %d slots together, and there are %d", reserved, all)
	}
}

// checkReserved refuses what is reserved where it keeps a client from ever running
// a backend, or anything.
func (l *loader) checkReserved() {
	c := l.config
	all := 0
	for _, one := range c.Clients {
		all += one.ReservedRuns
	}
	if all == 0 || all > c.slots() {
		return // nothing is reserved, or more than there is, which was told
	}
	for _, client := range c.expectedClients() {
		own := c.Clients[client].ReservedRuns
		key := l.reservationKey(c, client)
		if most := c.Budget.MaxRuns; most > 0 && all-own >= most {
			l.fail(key, "lower it, or raise budget.max_runs", "client %q can never run anything: all %d slots are reserved for others", client, most)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
			each := c.Limits.MemoryMax.Bytes
			most, reserved := c.Backends[name].Limits.MemoryMax.Bytes, int64(all-own)*each
			if max(most, int64(own)*each)+reserved > c.Budget.Memory.Bytes {
				l.fail(key, "lower it or the backend's memory_max, or raise budget.memory",
					"client %q can never run backend %s: its memory_max of %s and the %s that are reserved for others are more than the budget of %s",
					client, name, bytesize.Human(most), bytesize.Human(reserved), bytesize.Human(c.Budget.Memory.Bytes))
				return
			}
		}
	}
}

// expectedClients are the clients that are known to ask: those with a token, or without
// any the one that all on a TCP port are.
func (c Config) expectedClients() []string {
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

// reservationKey is the key of what is reserved for another client than that one.
func (l *loader) reservationKey(c Config, but string) string {
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
	if c.Limits.MemoryMax.Bytes > 0 {
		if n := int(c.Budget.Memory.Bytes / c.Limits.MemoryMax.Bytes); slots == 0 || n < slots {
			slots = n
		}
	}
	return slots
}

func (l *loader) checkClient(name, prefix string, client Client) {
	if f := checkClientName(name); f != nil {
		l.problem(l.clients[name], "clients."+name, f)
	}
	if client.Weight < 1 || client.Weight > 100 {
		l.fail(prefix+"weight", "", "must be from 1 to 100")
	}
	if client.MaxRuns > 0 && client.ReservedRuns > client.MaxRuns {
		l.fail(prefix+"reserved_runs", "", "%d is more than the client's max_runs of %d", client.ReservedRuns, client.MaxRuns)
	}
	if len(l.config.Tokens) == 0 || name == "anonymous" || isUID(name) {
		return
	}
	var tokens []string
	for _, t := range l.config.Tokens {
		tokens = append(tokens, t.Name)
	}
	if !slices.Contains(tokens, name) {
		l.problem(l.clients[name], "clients."+name, hint.Errorf(suggest(name, tokens), "no token has this name"))
	}
}

// checkClientName keeps names fit for a log, a header and a metric's label.
func checkClientName(name string) *hint.Error {
	if name == "other" {
		return hint.Errorf("metrics count all unnamed clients under it", "%q is reserved", name)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(name) {
		return hint.Errorf("letters, digits, dot, dash and underscore, at most 64", "%q can't be a client's name", name)
	}
	return nil
}

// ClientID is what requests of [clients.NAME] are known by: a token's name, or
// "uid:1000" for NAME 1000, a user on the unix socket.
func ClientID(name string) string {
	if isUID(name) {
		return "uid:" + name
	}
	return name
}

func isUID(name string) bool { return name != "" && strings.Trim(name, "0123456789") == "" }
