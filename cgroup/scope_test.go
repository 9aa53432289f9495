package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"penstock/cgroup/cgroupfs"

	"golang.org/x/sys/unix"
)

// scopeVariable lets a process of these tests ask for a scope.
const scopeVariable = "PENSTOCK_CGROUP_SCOPE"

// A unit that forgot Delegate= keeps what it started.
func TestProbeScope_NotForUnits(t *testing.T) {
	t.Setenv("SYSTEMD_EXEC_PID", strconv.Itoa(os.Getpid()))
	_, err := probeScope(t.Context(), cgroupfs.Location{}, Options{Name: "x"})
	if c, ok := errors.AsType[*cgroupfs.Refusal](err); !ok || c.Remedy != "set Delegate=yes in the unit" {
		t.Errorf("error %v", err)
	}
	t.Setenv("SYSTEMD_EXEC_PID", "1")
	service := filepath.Join(t.TempDir(), "x.service")
	if err := os.Mkdir(service, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(service, "user.delegate", []byte("1"), 0); err != nil {
		t.Skip("extended attributes on the temporary directory: " + err.Error())
	}
	_, err = probeScope(t.Context(), cgroupfs.Location{Own: service}, Options{Name: "x"})
	if c, ok := errors.AsType[*cgroupfs.Refusal](err); !ok || !strings.Contains(c.Remedy, "exec it in a wrapper script") {
		t.Errorf("in a unit's wrapper script: error %v", err)
	}
}
