// Package openat opens what the daemon has made where a run can write, and
// nothing that the run may have put in its place.
//
//	Regular, Kind   a file of one kind, through no link, without waiting for a FIFO
//	Dir             a directory itself, as an os.Root: what is below stays below
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
func Regular(path string) (*os.File, os.FileInfo, error) {
	f, err := Kind(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Kind opens a file of one kind (os.ModeType) and nothing else. Children may
// write beside our files: a FIFO in a file's place would block for ever, a
// symbolic link would show what is not the run's, or have the daemon write to it.
func Kind(path string, flags int, kind os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Type() != kind {
		err = fmt.Errorf("open %s: a file of another kind than ours: %s", path, info.Mode())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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
