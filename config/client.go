package config

import "strings"

// ClientID is what requests of [clients.NAME] are known by: a token's name, or
// "uid:1000" for NAME 1000, a user on the unix socket.
func ClientID(name string) string {
	if isUID(name) {
		return "uid:" + name
	}
	return name
}

func isUID(name string) bool { return name != "" && strings.Trim(name, "0123456789") == "" }
