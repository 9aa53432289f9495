package main

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"penstock/cgroup/root"
	"penstock/cmd/penstock/check"
	"penstock/config"
)

// banner says in three lines, and a first call to try, where the daemon serves, what holds the limits on
// this host, and which backends can be used.
func (a *app) banner(c config.Config, b build, addrs []net.Addr) error {
	host, err := root.Host()
	if err != nil {
		return fmt.Errorf("banner: %w", err)
	}
	limits := check.LimitHolders(host)
	if c.Isolation.SelfTest {
		limits += "; self-test passed" // else there would be no daemon to say so
	}
	_, err = fmt.Fprintf(a.stdout, "penstock %s on %s\n%s\n%s\n%s", b.Version, joinAddrs(addrs), limits, usable(c), firstCall(addrs, len(c.Tokens) > 0))
	return err
}

// firstCall is a command that works at once, whatever CLIs this host has; where
// tokens are needed, with one of them put in.
func firstCall(addrs []net.Addr, tokens bool) string {
	token := ""
	if tokens {
		token = " -H 'Authorization: Bearer TOKEN'"
	}
	for _, addr := range addrs {
		if addr.Network() != "unix" {
			return fmt.Sprintf("\ntry it:\n  curl -N http://%s/v1/chat/completions -H 'Content-Type: application/json'%s \\\n"+
				"    -d '{\"model\":\"demo\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello from the cage\"}]}'\n", addr, token)
		}
	}
	return ""
}

func usable(c config.Config) string {
	var ready, missing []string
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		if c.Backends[name].Missing == "" {
			ready = append(ready, name)
		} else {
			missing = append(missing, name)
		}
	}
	line := "backends: " + strings.Join(ready, " ")
	if len(missing) > 0 {
		line += " (not found: " + strings.Join(missing, " ") + ")"
	}
	return line
}

func joinAddrs(addrs []net.Addr) string {
	out := make([]string, 0, len(addrs))
	for _, addr := range addrs {
		if addr.Network() == "unix" {
			out = append(out, "unix:"+addr.String())
		} else {
			out = append(out, "http://"+addr.String())
		}
	}
	return strings.Join(out, ", ")
}
