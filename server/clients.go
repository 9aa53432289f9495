package server

import (
	"penstock/admit"
	"penstock/config"
	"penstock/server/web"
)

// gateClients are the clients' parts in admission, by who asks.
func gateClients(c config.Config) map[string]admit.Client {
	out := map[string]admit.Client{}
	for name, client := range c.Clients {
		out[config.ClientID(name)] = admit.Client{MaxRuns: client.MaxRuns, Reserved: client.ReservedRuns, Weight: client.Weight}
	}
	return out
}

// operators are the clients that may see and end others' runs.
func operators(c config.Config) map[string]bool {
	out := map[string]bool{}
	for name, client := range c.Clients {
		out[config.ClientID(name)] = client.Operator
	}
	return out
}

// clientNames are those that metrics count apart.
func clientNames(c config.Config) []string {
	out := []string{web.Anonymous}
	for name := range c.Clients {
		out = append(out, config.ClientID(name))
	}
	for _, t := range c.Tokens {
		out = append(out, t.Name)
	}
	return out
}

// renewed tells the metrics who is counted apart from now on.
func (d *daemon) renewed(tokens []config.Token) {
	c := d.config
	c.Tokens = tokens
	d.metrics.SetClients(clientNames(c))
}
