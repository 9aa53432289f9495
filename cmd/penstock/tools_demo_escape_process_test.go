package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Outside of any cage root passes through another user's process: what the demo
// tries would work, were it not forbidden. Plain directories stand in for groups.
func TestDemoTryThrough(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: takes another user's ids")
	}
	const nobody = 65534
	root, err := os.MkdirTemp("/tmp", "demo-escape")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	procs := filepath.Join(root, "group", "cgroup.procs")
	if err := os.Mkdir(filepath.Dir(procs), 0o700); err != nil { // for root alone
		t.Fatal(err)
	}
	if err := os.WriteFile(procs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sleep", "600")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = c.Process.Kill(), c.Wait() }()
	through := filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "root", root)
	if moved := demoTryThrough(through, "/group", nobody, nobody); moved != "" {
		t.Errorf("moved to its own group: %q", moved)
	}
	if moved := demoTryThrough(through, "/", nobody, nobody); moved != through {
		t.Errorf("moved to %q, want %q", moved, through)
	}
	wrote, err := os.ReadFile(procs)
	if err != nil || string(wrote) != strconv.Itoa(os.Getpid()) {
		t.Errorf("wrote %q, %v", wrote, err)
	}
}
