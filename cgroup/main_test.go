package cgroup

import (
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// scopeVariable lets a process of these tests ask for a scope.
const scopeVariable = "PENSTOCK_CGROUP_SCOPE"

// TestMain lets the test binary be its own victim (see victim_test.go) and
// fails when a goroutine of a root outlives it.
//
// Its processes say that a unit started them: on a host with systemd they would
// else move into scopes, and these tests are of the groups below our own.
func TestMain(m *testing.M) {
	if os.Getenv(scopeVariable) == "" {
		os.Setenv("SYSTEMD_EXEC_PID", strconv.Itoa(os.Getpid()))
	}
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}
