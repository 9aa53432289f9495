// Package imagetest makes a small root file system for tests of runs in images.
package imagetest

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Busybox is the path of a busybox that needs no library. A test without one is skipped; in
// the lab, where nothing may be missing, it fails.
func Busybox(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err == nil && isStatic(path) {
		return path
	}
	lack := t.Skip
	if os.Getenv("PENSTOCK_LAB") == "1" {
		lack = t.Fatal
	}
	lack("needs a static busybox (hint: apt-get install busybox-static)")
	return ""
}

func isStatic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// Root is a directory with all programs of busybox in /bin.
func Root(t testing.TB) string {
	t.Helper()
	busybox := Busybox(t)
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, applet := range strings.Fields(string(list)) {
		if applet == "busybox" {
			continue
		}
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
