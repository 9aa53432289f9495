// Package imagetest makes a small root file system for tests of runs in images.
package imagetest

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
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

// Root is a directory with all programs of busybox in /bin, which nothing may change until
// the test's end.
func Root(t testing.TB) string {
	t.Helper()
	root := Tree(t)
	Unchanged(t, root)
	return root
}

// Unchanged compares a root file system at the test's end with what it is now: each name with
// all that lstat(2) tells but the time of its last access, and what is in the files.
func Unchanged(t testing.TB, root string) {
	t.Helper()
	before := look(t, root)
	t.Cleanup(func() {
		after := look(t, root)
		for name, was := range before {
			if is, ok := after[name]; !ok || is != was {
				t.Errorf("the image was changed: %s: %q, before %q", name, is, was)
			}
		}
		for name := range after {
			if _, ok := before[name]; !ok {
				t.Errorf("the image was changed: %s came", name)
			}
		}
	})
}

func look(t testing.TB, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err != nil {
			return err
		}
		what := []byte(nil)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			what, err = os.ReadFile(path)
		case unix.S_IFLNK:
			var to string
			to, err = os.Readlink(path)
			what = []byte(to)
		}
		st.Atim = unix.Timespec{}
		found[path] = fmt.Sprintf("%x %+v", sha256.Sum256(what), st)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Tree is a Root that its test changes.
func Tree(t testing.TB) string {
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
