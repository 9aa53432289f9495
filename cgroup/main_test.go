package cgroup

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be its own victim (see victim_test.go) and
// fails when a goroutine of a root outlives it.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}
