package root

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
)

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

// Where no manager has made the root, none is asked.
func TestRoot_StoppingWithoutManager(t *testing.T) {
	r := &Root{path: "/sys/fs/cgroup/somewhere/penstock-1"}
	if stops, err := r.Stopping(t.Context()); stops || err != nil {
		t.Errorf("%v, %v", stops, err)
	}
}

// A root that another daemon lives in is left alone, and nothing of it is to be taken back.
func TestMakeRoot_Busy(t *testing.T) {
	here, err := cgroupfs.FindLocation()
	if err != nil {
		skipLacking(t, "cgroup2: "+err.Error())
	}
	path := filepath.Join(here.Own, fmt.Sprintf("penstock-test-root-%d", os.Getpid()))
	if err := os.MkdirAll(path+"/"+cgroupfs.DaemonLeaf, 0o755); err != nil {
		skipLacking(t, "a writable cgroup2 tree: "+err.Error())
	}
	t.Cleanup(func() {
		if err := cgroupfs.RemoveTree(t.Context(), path); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(path+"/"+cgroupfs.RunsDir, 0o755); err != nil {
		t.Fatal(err)
	}
	leaf, err := cgroupfs.OpenDir(path + "/" + cgroupfs.DaemonLeaf)
	if err != nil {
		t.Fatal(err)
	}
	defer leaf.Close()
	first := exec.Command("sleep", "60")
	first.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: leaf.FD()}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { first.Process.Kill(); first.Wait() }()
	r := &Root{path: path}
	err = r.makeRoot(rootSite{path: path, parent: here.Own})
	if !errors.Is(err, cgroupfs.ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(first.Process.Pid)) || r.origin.Made {
		t.Errorf("second daemon: error %v and %+v to take back, want ErrBusy and nothing", err, r.origin)
	}
	if _, err := os.Stat(path + "/" + cgroupfs.RunsDir); err != nil {
		t.Errorf("the first daemon lost its runs: %v", err)
	}
}

// skipLacking is a failure in the lab (test/lab/test), which has everything.
func skipLacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("PENSTOCK_LAB") != "" {
		t.Fatalf("the lab lacks %s", what)
	}
	t.Skipf("this machine lacks %s", what)
}
