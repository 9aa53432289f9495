package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/test/bench/anchor"
)

// contender is one side of a row: once measures it, and adds its samples.
type contender struct {
	name string
	once func(round int) error
}

// inTurn measures all contenders in each round. Each comes first in turn: what one
// leaves the kernel to do in the background must not always be its neighbour's
// burden.
func inTurn(rounds int, all []contender) error {
	for round := range rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			if err := c.once(round); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// absolute makes a path one that any working directory can use; "" stays.
func absolute(path *string) (err error) {
	if *path != "" {
		*path, err = filepath.Abs(*path)
	}
	return err
}

// place is a directory for state on a file system of a known kind.
type place struct{ kind, dir string }

// places are one on the disk that TMPDIR is on, and one on tmpfs, "" where there
// is none.
func places() (all []place, err error) {
	disk, err := tempDir("")
	if err != nil {
		return nil, err
	}
	all = []place{{kindOf(disk), disk}}
	if all[0].kind == "tmpfs" || kindOf(memory) != "tmpfs" {
		return all, nil
	}
	dir, err := tempDir(memory)
	return append(all, place{"tmpfs", dir}), err
}

// tempDir is named by this process, so that cleanUp finds it.
func tempDir(parent string) (string, error) {
	return os.MkdirTemp(parent, fmt.Sprintf("penstock-bench-%d-", os.Getpid()))
}

// cleanUpOnSignal leaves neither processes nor files where a row is interrupted. The
// servers end by themselves: they are told when this process ends.
func cleanUpOnSignal() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, unix.SIGTERM)
	go func() {
		<-stop
		// Before the row under way fails for want of what is cleaned up.
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		err := anchor.Sweep(os.Getpid())
		for _, parent := range []string{os.TempDir(), memory} {
			left, _ := filepath.Glob(filepath.Join(parent, fmt.Sprintf("penstock-bench-%d-*", os.Getpid())))
			for _, dir := range left {
				err = errors.Join(err, os.RemoveAll(dir))
			}
		}
		exit(errors.Join(errors.New("nothing is measured any more"), err))
	}()
}

// memory is where POSIX shared memory is: tmpfs on every Linux with glibc.
const memory = "/dev/shm"

func (p place) remove() { _ = os.RemoveAll(p.dir) }

// kindOf names the file system that a directory is on.
func kindOf(dir string) string {
	var is unix.Statfs_t
	if unix.Statfs(dir, &is) != nil {
		return "unknown"
	}
	known := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	}
	if name := known[int64(is.Type)]; name != "" {
		return name
	}
	return fmt.Sprintf("%#x", is.Type)
}

// machine is what the figures were measured on.
func (b *bench) machine() string {
	return fmt.Sprintf("%s, Linux %s, %d processors", processor(), release(), runtime.NumCPU())
}

func processor() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return runtime.GOARCH
	}
	_, rest, _ := strings.Cut(string(raw), "model name\t: ")
	name, _, _ := strings.Cut(rest, "\n")
	if name == "" {
		return runtime.GOARCH
	}
	return name
}

func release() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}
