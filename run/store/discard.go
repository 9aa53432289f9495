package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// discardName is a directory in the store with an empty file for each run of which, once it
// has ended, no more than the record is to stay, by its id: until that is so.
const discardName = "discard"

func (s *StateDir) discardFiles(id string) []string { return s.Store.Of(discardName, id) }

// MarkDiscard notes that no more than the record is to stay of the run. Of a durable one
// the note is on the disk when it returns.
func (d *Dir) MarkDiscard() error {
	for _, path := range d.state.discardFiles(filepath.Base(d.Path)) {
		err := withAccess(path, func() error {
			fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return &os.PathError{Op: "open", Path: path, Err: err}
			}
			return unix.Close(fd)
		})
		if err == nil {
			err = d.Flush.Dirs(filepath.Dir(path))
		}
		if err != nil {
			return orRemoved(err)
		}
	}
	return nil
}

// ForgetDiscard is for a run of which no more is there, or nothing.
func (s *StateDir) ForgetDiscard(id string) error {
	for _, path := range slices.Backward(s.discardFiles(id)) {
		if err := withAccess(path, func() error { return os.Remove(path) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Discards gives to each the runs that are so marked.
func (s *StateDir) Discards(each func(id string)) error {
	return eachName(s.Store.Of(discardName)[0], each)
}
