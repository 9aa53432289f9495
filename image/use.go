package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/backoff"
)

// Use is an image that can't be removed: as long as Lock is open, in this process or
// in one that has inherited it.
type Use struct {
	Record
	Rootfs string // its root file system, not to be written to
	// Lock holds it. A run's first process, which is ours, is to inherit this descriptor
	// and to keep it from the CLI: then the image stays until that process has ended,
	// whatever becomes of the daemon. It is nil for a directory of the host's, which
	// nothing holds.
	Lock *os.File
}

// Close lets go of it in this process.
func (u *Use) Close() error {
	if u == nil || u.Lock == nil {
		return nil
	}
	return u.Lock.Close()
}

// Use holds a digest for a run. A daemon that adopts a run of an earlier one holds what
// the run's record tells again, by the same call.
func (s *Store) Use(ctx context.Context, digest string) (*Use, error) {
	return s.hold(ctx, digest, runsLock)
}

// Pin holds a digest for a configuration: it stays in the store, and no run has to
// use it.
func (s *Store) Pin(ctx context.Context, digest string) (*Use, error) {
	return s.hold(ctx, digest, refsLock)
}

// holdMax is how long a removal that comes to nothing may be in the way.
const holdMax = 5 * time.Second

func (s *Store) hold(ctx context.Context, digest, file string) (*Use, error) {
	path, err := s.pathOf(digest)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, holdMax, fmt.Errorf("%s has been locked for %s", filepath.Join(path, file), holdMax))
	defer cancel()
	wait := backoff.Policy{First: time.Millisecond, Max: 20 * time.Millisecond}
	for try := 0; ; try++ {
		f, err := holdShared(filepath.Join(path, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("image %s: %w", Short(digest), ErrGone)
		}
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", Short(digest), err)
		}
		if f != nil {
			r, err := s.Get(digest)
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return &Use{Record: r, Rootfs: filepath.Join(path, rootfsName), Lock: f}, nil
		}
		if err := wait.Wait(ctx, try); err != nil {
			return nil, fmt.Errorf("image %s: %w", Short(digest), err)
		}
	}
}

// holdShared takes a shared lock on a file and looks whether it still has its name: what
// removes an image holds the file, and then takes it away with the rest. It is nil where
// that is under way.
func holdShared(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	held, err := tryLock(f, unix.LOCK_SH)
	if err != nil || !held {
		return nil, errors.Join(err, f.Close())
	}
	opened, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	named, err := os.Lstat(path)
	if err != nil || !os.SameFile(opened, named) {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// InUse tells whether runs use a digest. By the time it returns that may be different:
// Remove asks by itself.
func (s *Store) InUse(digest string) (bool, error) {
	path, err := s.pathOf(digest)
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(filepath.Join(path, runsLock), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, fmt.Errorf("image %s: %w", Short(digest), err)
	}
	free, err := tryLock(f, unix.LOCK_EX)
	return !free, errors.Join(err, f.Close())
}
