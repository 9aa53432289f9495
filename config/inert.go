package config

import (
	"maps"
	"slices"
)

// Inert names the keys, sorted, that were set to what has no effect yet.
// Whoever serves must say so: a reservation that is silently none is worse
// than an error.
func (c Config) Inert() []string {
	var keys []string
	for _, name := range slices.Sorted(maps.Keys(c.Clients)) {
		client := c.Clients[name]
		if client.ReservedRuns > 0 {
			keys = append(keys, "clients."+name+".reserved_runs")
		}
		if client.Weight > 1 {
			keys = append(keys, "clients."+name+".weight")
		}
	}
	return keys
}
