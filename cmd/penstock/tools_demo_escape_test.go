package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDemoCgroupRoots(t *testing.T) {
	const mountinfo = `24 1 0:22 / /proc rw,nosuid - proc proc rw
31 25 0:27 / /cg rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 25 0:28 / /v1/memory rw - cgroup cgroup rw,memory
33 25 0:29 / /other ro,relatime - cgroup2 none rw
broken - cgroup2
`
	if diff := cmp.Diff([]string{"/cg", "/other"}, demoCgroupRoots(mountinfo)); diff != "" {
		t.Error(diff)
	}
}

func TestDemoOwnGroup(t *testing.T) {
	for in, want := range map[string]string{
		"0::/runs/run_1\n":                  "/runs/run_1",
		"4:memory:/a\n1:name=x:/b\n0::/c\n": "/c",
		"4:memory:/a\n":                     "/",
	} {
		if got := demoOwnGroup(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A tree of plain directories stands in for groups: a directory without
// cgroup.procs refuses, one with it lets in.
func TestDemoTryGroups(t *testing.T) {
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
	if tried, moved := demoTryGroups(root, own); tried != 3 || moved != "" {
		t.Errorf("closed: tried %d, moved to %q", tried, moved)
	}
	open := filepath.Join(root, "runs", "other")
	if err := os.WriteFile(filepath.Join(open, "cgroup.procs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, moved := demoTryGroups(root, own); moved != open {
		t.Errorf("open: moved to %q", moved)
	}
	wrote, _ := os.ReadFile(filepath.Join(open, "cgroup.procs"))
	if string(wrote) != strconv.Itoa(os.Getpid()) {
		t.Errorf("wrote %q", wrote)
	}
}
