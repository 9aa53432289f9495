package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCgroupRoots(t *testing.T) {
	const mountinfo = `24 1 0:22 / /proc rw,nosuid - proc proc rw
31 25 0:27 / /cg rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 25 0:28 / /v1/memory rw - cgroup cgroup rw,memory
33 25 0:29 / /other ro,relatime - cgroup2 none rw
broken - cgroup2
`
	if diff := cmp.Diff([]string{"/cg", "/other"}, cgroupRoots(mountinfo)); diff != "" {
		t.Error(diff)
	}
}

func TestOwnGroup(t *testing.T) {
	for in, want := range map[string]string{
		"0::/runs/run_1\n":                  "/runs/run_1",
		"4:memory:/a\n1:name=x:/b\n0::/c\n": "/c",
		"4:memory:/a\n":                     "/",
	} {
		if got := ownGroup(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A tree of plain directories stands in for groups: a directory without
// cgroup.procs refuses, one with it lets in.
func TestTryGroups(t *testing.T) {
	root := t.TempDir()
	own := filepath.Join(root, "runs", "mine")
	for _, dir := range []string{own, filepath.Join(root, "runs", "other")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(own, "cgroup.procs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if tried, moved := tryGroups(root, own); tried != 3 || moved != "" {
		t.Errorf("closed: tried %d, moved to %q", tried, moved)
	}
	open := filepath.Join(root, "runs", "other")
	if err := os.WriteFile(filepath.Join(open, "cgroup.procs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, moved := tryGroups(root, own); moved != open {
		t.Errorf("open: moved to %q", moved)
	}
	wrote, _ := os.ReadFile(filepath.Join(open, "cgroup.procs"))
	if string(wrote) != strconv.Itoa(os.Getpid()) {
		t.Errorf("wrote %q", wrote)
	}
}

// Outside of any cage root passes through another user's process: what the demo
// tries would work, were it not forbidden. Plain directories stand in for groups.
func TestTryThrough(t *testing.T) {
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
	if moved := tryThrough(through, "/group", nobody, nobody); moved != "" {
		t.Errorf("moved to its own group: %q", moved)
	}
	if moved := tryThrough(through, "/", nobody, nobody); moved != through {
		t.Errorf("moved to %q, want %q", moved, through)
	}
	wrote, err := os.ReadFile(procs)
	if err != nil || string(wrote) != strconv.Itoa(os.Getpid()) {
		t.Errorf("wrote %q, %v", wrote, err)
	}
}
