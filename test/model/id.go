package model

import "crypto/rand"

// newID is a fresh identifier with the provider's prefix.
func newID(prefix string) string { return prefix + rand.Text() }
