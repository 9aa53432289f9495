package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"penstock/run/history"
)

// CheckDir says why LockDir would refuse a state directory, and where it is or would
// be made. It leaves nothing there.
func CheckDir(dir string) (there string, err error) {
	s, err := stateDirAt(dir)
	if err != nil {
		return dir, err
	}
	if there, err = nearest(dir); err == nil {
		err = probeWrite(there)
	}
	if err != nil {
		return there, unwritable(dir, err)
	}
	if there == dir {
		if err := closeToOthers(dir, true); err != nil {
			return there, err
		}
		if err := s.tryLock(); err != nil {
			return there, err
		}
	}
	s.Store = storeOf(dir)
	if _, err := s.Store.isFresh(); err != nil {
		return there, err
	}
	for _, d := range append(append(s.Store.Of("runs"), s.Store.Of("sessions")...), s.Runs(), s.Sessions()) {
		at, err := nearest(d)
		if err == nil && at != d {
			err = unix.Access(at, unix.W_OK|unix.X_OK)
		}
		if err != nil {
			return there, unwritable(dir, &fs.PathError{Op: "mkdir", Path: d, Err: err})
		}
	}
	if err := history.Check(s.Store.Of(historyName)[0]); err != nil {
		return there, anothers(dir, err)
	}
	return there, nil
}

// tryLock takes the lock for a moment, where there is one.
func (s *StateDir) tryLock() error {
	f, err := os.OpenFile(s.lockPath(), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unwritable(s.Path, err)
	}
	s.Lock = f
	return errors.Join(s.flock(), f.Close())
}

// isLink is true of one that leads nowhere, too.
func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == fs.ModeSymlink
}

// nearest is the path or the closest directory above it that exists.
func nearest(path string) (string, error) {
	for {
		info, err := os.Stat(path)
		switch {
		case err == nil && !info.IsDir():
			return path, &fs.PathError{Op: "stat", Path: path, Err: unix.ENOTDIR}
		case err == nil, !errors.Is(err, fs.ErrNotExist), path == filepath.Dir(path), isLink(path):
			return path, err
		}
		path = filepath.Dir(path)
	}
}
