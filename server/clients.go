package server

import "penstock/config"

// clientRuns are the clients' own caps on runs at once, by who asks.
func clientRuns(c config.Config) map[string]int {
	out := map[string]int{}
	for name, client := range c.Clients {
		if client.MaxRuns > 0 {
			out[config.ClientID(name)] = client.MaxRuns
		}
	}
	return out
}

// clientNames are those that metrics count apart.
func clientNames(c config.Config) []string {
	out := []string{anonymous}
	for name := range c.Clients {
		out = append(out, config.ClientID(name))
	}
	for _, t := range c.Tokens {
		out = append(out, t.Name)
	}
	return out
}
