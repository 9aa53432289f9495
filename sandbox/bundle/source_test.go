package bundle

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"penstock/image"
)

// chain is a directory of root's, in it one of the user 4321, and links in both.
func chain(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: another user's rights, and directories that are not the run's")
	}
	// Not below /tmp, which any run can write.
	top, err := os.MkdirTemp("/root", "penstock-source-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	for dir, uid := range map[string]int{"real": 0, "real/theirs": 4321, "real/theirs/below": 0, "closed": 0} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Chown(filepath.Join(top, dir), uid, uid)
	}
	write(t, filepath.Join(top, "real/theirs/below/file"), "", 0o644)
	link(t, "real", filepath.Join(top, "link"))
	link(t, filepath.Join(top, "real/../link/theirs"), filepath.Join(top, "absolute"))
	link(t, "below", filepath.Join(top, "real/theirs/swapped"))
	link(t, "/etc", filepath.Join(top, "real/theirs/below/deeper"))
	link(t, "loop", filepath.Join(top, "loop"))
	if err := os.Chmod(filepath.Join(top, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	return top
}

func TestOpenSource(t *testing.T) {
	top := chain(t)
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	// /root itself is not to be passed by another.
	as := &syscall.Credential{Uid: 4321, Gid: 4321}
	if _, err := OpenSource(filepath.Join(top, "real"), as); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("through a directory that is closed to the run's user: %v", err)
	}
	// Where anybody may pass, the file system's top.
	moved, err := os.MkdirTemp("/", "penstock-source-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(moved) })
	if err := errors.Join(os.Chmod(moved, 0o755), os.Rename(top, filepath.Join(moved, "top"))); err != nil {
		t.Fatal(err)
	}
	was, top := top, filepath.Join(moved, "top")
	if err := os.Remove(filepath.Join(top, "absolute")); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join(top, "real/../link/theirs"), filepath.Join(top, "absolute"))
	for path, want := range map[string]string{
		"real":                        "real",
		"link":                        "real",
		"link/theirs/below/file":      "real/theirs/below/file",
		"absolute/below":              "real/theirs/below",
		"real/theirs/../../real":      "real",
		"real/theirs/swapped":         "!is a link, in a directory that runs could write",
		"absolute/swapped/file":       "!is a link, in a directory that runs could write",
		"real/theirs/below/deeper":    "!is a link, in a directory that runs could write",
		"real/theirs/below/file/more": "!not a directory",
		"closed/x":                    "!permission denied",
		"missing":                     "!no such file",
		"loop":                        "!too many levels",
	} {
		f, err := OpenSource(filepath.Join(top, path), as)
		if refusal, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), refusal) {
				t.Errorf("%s: %v, want %q", path, err, refusal)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if f.Name() != filepath.Join(top, want) {
			t.Errorf("%s: %s, want %s", path, f.Name(), want)
		}
		f.Close()
	}
	// To root, whose directories these are, every link in them could be swapped.
	if _, err := OpenSource(filepath.Join(top, "link"), nil); err == nil || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("root's own link: %v", err)
	}
	// The thread that was another is gone; this one is as it was.
	if f, err := OpenSource(filepath.Join(top, "closed"), nil); err != nil {
		t.Errorf("as itself, after %s: %v", was, err)
	} else {
		f.Close()
	}
}

func TestSupplied(t *testing.T) {
	rootfs := plainImage(t)
	write(t, filepath.Join(rootfs, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nagent:x:9:9::/:/bin/false\nnode:x:4321:7::/home/node:/bin/sh", 0o644)
	files, err := Supplied(rootfs, "node22", Person{UID: 4321, GID: 4321, Home: "/home/agent"}, false)
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(files)); !slices.Equal(names, image.Supplied()) {
		t.Errorf("%q: those that a stored image has a place for are %q", names, image.Supplied())
	}
	for name, want := range map[string]string{
		"/etc/passwd":      "node:x:4321:4321::/home/agent:/bin/sh\nroot:x:0:0:root:/root:/bin/sh\nagent:x:9:9::/:/bin/false\n",
		"/etc/group":       "agent:x:4321:\n",
		"/etc/resolv.conf": "",
		"/etc/hosts":       "127.0.0.1 localhost\n::1 localhost\n127.0.0.1 node22\n",
	} {
		if string(files[name]) != want {
			t.Errorf("%s: %q, want %q", name, files[name], want)
		}
	}
	if _, err := Supplied(rootfs, "", Person{Home: "/a:b"}, false); err == nil {
		t.Error("a home with a colon was written to passwd")
	}
	link(t, "/etc/shadow", filepath.Join(rootfs, "etc/group")) // of the host's, from outside
	if files, err = Supplied(rootfs, "", Person{UID: 1, GID: 1, Home: "/"}, true); err != nil || strings.Contains(string(files["/etc/group"]), "root:") {
		t.Errorf("a link of the image's led to the host: %v %q", err, files["/etc/group"])
	}
}

// A run's own host name is found, and what the host says of it stays.
func TestWithHost(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "127.0.0.1 node22\n",
		"127.0.0.1 localhost":          "127.0.0.1 localhost\n127.0.0.1 node22\n",
		"192.0.2.1 other node22 # one": "192.0.2.1 other node22 # one",
		"# 192.0.2.1 node22\n":         "# 192.0.2.1 node22\n127.0.0.1 node22\n",
		"node22 localhost\n":           "node22 localhost\n127.0.0.1 node22\n",
		"192.0.2.1\tnode22.example\n":  "192.0.2.1\tnode22.example\n127.0.0.1 node22\n",
	} {
		if got := string(withHost([]byte(text), "node22")); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := string(withHost([]byte("x"), "")); got != "x" {
		t.Errorf("without a name: %q", got)
	}
}
