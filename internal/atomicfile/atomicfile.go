// Package atomicfile replaces files whole or not at all.
//
//	Replace:  .new-* beside it ── write ── flush ── rename over the name ── flush the directory
//	Put:      the same without the last
//
// A crash leaves the old file or the new one, and at most a .new-* that the next
// start sweeps. Without a Flusher that holds for a kill, with one for a power cut too.
package atomicfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Flusher gets what a file or a directory holds onto the disk, as os.File.Sync
// does; nil leaves the time of that to the kernel.
type Flusher func(*os.File) error

// Dirs flushes the names in directories.
func (f Flusher) Dirs(paths ...string) error {
	if f == nil {
		return nil
	}
	for _, p := range paths {
		d, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f(d), d.Close()); err != nil {
			return fmt.Errorf("flush %s: %w", p, err)
		}
	}
	return nil
}

// Replace replaces a file whole or not at all, with a Flusher also across a loss
// of power: its content is on the disk before it gets the name, and the name
// before Replace returns. The file's mode is 0600.
func Replace(path string, data []byte, flush Flusher) error {
	if err := Put(path, data, flush); err != nil {
		return err
	}
	if err := flush.Dirs(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Put is Replace that leaves the name to a later flush of the directory, one for several
// files: until then a loss of power may leave the old file.
func Put(path string, data []byte, flush Flusher) error {
	next := filepath.Join(filepath.Dir(path), fmt.Sprintf(".new-%x", rand.Uint64()))
	// os.OpenFile would ask the runtime's poller, os.Rename what it is to replace.
	var fd int
	err := retryEINTR(func() (err error) {
		fd, err = unix.Open(next, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), next)
	_, err = f.Write(data)
	if err == nil && flush != nil {
		err = flush(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.NewSyscallError("rename", retryEINTR(func() error { return unix.Rename(next, path) }))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(next))
	}
	return nil
}

// retryEINTR repeats a call that a signal interrupted: the runtime preempts by signal.
func retryEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
