// Package openat opens what the daemon has made where a run can write, and
// nothing that the run may have put in its place.
//
//	Regular, Kind   a file of one kind, through no link, without waiting for a FIFO
//	Dir             a directory itself, as an os.Root: what is below stays below
//	List            a directory itself, to be read
//	Plain           as os.OpenFile, at a third of its system calls
//
// openat2(2) would do it in one call, but RestrictSUIDSGID= of the unit answers
// that with ENOSYS.
package openat

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Regular opens a regular file for reading.
func Regular(path string) (*os.File, os.FileInfo, error) { return open(path, os.O_RDONLY, 0) }

// Kind opens a file of one kind (os.ModeType) and nothing else. Children may
// write beside our files: a FIFO in a file's place would block for ever, a
// symbolic link would show what is not the run's, or have the daemon write to it.
func Kind(path string, flags int, kind os.FileMode) (*os.File, error) {
	f, _, err := open(path, flags, kind)
	return f, err
}

func open(path string, flags int, kind os.FileMode) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Type() != kind {
		err = fmt.Errorf("open %s: a file of another kind than ours: %s", path, info.Mode())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Plain opens a file as os.OpenFile does, for reads and writes that never wait: it
// leaves out the four calls that ask whether the runtime's poller could wait for it.
func Plain(path string, flags int, perm os.FileMode) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, uint32(perm))
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if err != unix.EINTR {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// List opens a directory itself, never what a link in its place points to.
func List(path string) (*os.File, error) {
	return Plain(path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// Dir opens a directory itself, never what a link in its place points to.
func Dir(path string) (*os.Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil {
		var named os.FileInfo
		if named, err = os.Lstat(path); err == nil && !os.SameFile(opened, named) {
			err = fmt.Errorf("%s: not a directory of our own any more", path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}
