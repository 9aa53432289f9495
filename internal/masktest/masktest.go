// Package masktest makes what a sandbox is to mask, for tests.
package masktest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

// Paths is a directory of ways to have another program start a process.
type Paths struct {
	t   *testing.T
	Dir string
}

// New makes one with a socket, a spool, a file, and a sticky directory with a socket.
func New(t *testing.T) Paths {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "spawn-paths") // short: a socket's path has an end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d := Paths{t, dir}
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(d.At("spool"), 0o755), os.Mkdir(d.At("conf"), 0o755), os.Mkdir(d.At("own"), 0o777), unix.Chmod(d.At("own"), 0o1777),
		os.WriteFile(d.At("spool/job"), []byte("secret"), 0o644), os.WriteFile(d.At("table"), []byte("secret"), 0o644), os.WriteFile(d.At("conf/unit"), []byte("text"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	d.Listen("door.sock")
	d.Listen("own/server")
	return d
}

// At is the path of one of them.
func (d Paths) At(name string) string { return filepath.Join(d.Dir, name) }

// Listen opens a socket that every user may connect to.
func (d Paths) Listen(name string) {
	d.t.Helper()
	l, err := net.Listen("unix", d.At(name))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { l.Close() })
	if err := os.Chmod(d.At(name), 0o777); err != nil {
		d.t.Fatal(err)
	}
}

// Mask is what is to be masked of it, and what is to be read-only.
func (d Paths) Mask() (paths, readOnly []string) {
	return []string{d.At("*.sock"), d.At("spool"), d.At("table"), d.At("own"), d.At("nothing")}, []string{d.At("conf")}
}

// CgroupTree is where this host's v2 tree is mounted, which a run must not write to. The test is
// skipped where there is none.
func CgroupTree(t *testing.T) string {
	t.Helper()
	mounts, err := procinfo.Host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.FSType == "cgroup2" {
			return m.Point
		}
	}
	t.Skip("this machine has no cgroup2 mount")
	return ""
}
