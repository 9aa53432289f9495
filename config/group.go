package config

import (
	"crypto/sha256"
	"encoding/hex"
)

// GroupName names the daemon's subtree of groups. It is stable for one state
// directory, so that a later daemon, and reap, find what was left.
func (c Config) GroupName() string {
	sum := sha256.Sum256([]byte(c.StateDir))
	return "penstock-" + hex.EncodeToString(sum[:4])
}
