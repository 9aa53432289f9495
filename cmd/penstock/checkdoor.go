package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/config"
	"penstock/server"
)

// What is said of an address that is listened on: this daemon's unit, as
// likely as not. A port isn't asked: a call would start a unit that has a socket.
const (
	portTaken   = "another process has this port"
	socketTaken = "another process answers on this socket"
)

// checkListen opens and closes the addresses, as serve would.
func checkListen(t server.Trial) []finding {
	var all []finding
	for i, err := range t.Listen() {
		f := finding{Area: "listen", Name: t.Config.Listen[i], OK: true, Detail: "free"}
		if errors.Is(err, unix.EADDRINUSE) {
			f.OK, f.Detail, f.Remedy = false, portTaken,
				"stop it, or change listen; a daemon that is meant to be there answers for itself: penstock ps"
			if strings.HasPrefix(f.Name, "unix:") {
				f.Detail = socketTaken
			}
		} else if err != nil {
			f.refuse(err, "change listen")
		}
		all = append(all, f)
	}
	return all
}

// checkTokens says which clients may come in; a file that can't be taken is a problem of
// the configuration.
func checkTokens(c config.Config) finding {
	f := finding{Area: "tokens", Name: "tokens_file", OK: true, Detail: "none: every local user may come in"}
	if c.TokensFile != "" {
		f.Detail = fmt.Sprintf("%s: %s", c.TokensFile, count(len(c.Tokens), "token", "tokens"))
	}
	if slices.ContainsFunc(c.Tokens, func(t config.Token) bool { return t.Plain }) {
		f.OK, f.Advice = false, true
		f.Detail += ", not all of them hashed: an agent that runs as the daemon's user can read the others"
		f.Remedy = "write name:sha256:<hex of the token's SHA-256>"
	}
	return f
}
