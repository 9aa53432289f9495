package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	path, err := s.pathOf(digest)
	if err != nil {
		return nil, err
	}
	f, err := hold(ctx, filepath.Join(path, runsLock), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image %s: %w", Short(digest), ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", Short(digest), err)
	}
	r, err := s.Get(digest)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Use{Record: r, Rootfs: filepath.Join(path, rootfsName), Lock: f}, nil
}

// Pin holds a digest for a configuration, until the file is closed: whether it is in the
// store by now or later, it stays there.
func (s *Store) Pin(ctx context.Context, digest string) (*os.File, error) {
	if err := CheckDigest(digest); err != nil {
		return nil, err
	}
	f, err := hold(ctx, s.pinFile(digest), os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", Short(digest), err)
	}
	return f, nil
}

func (s *Store) pinFile(digest string) string {
	return filepath.Join(s.dir, pinsName, strings.TrimPrefix(digest, byDigest+":"))
}

// holdMax is how long a removal that comes to nothing may be in the way.
const holdMax = 5 * time.Second

// hold takes a shared lock on a file that has its name.
func hold(ctx context.Context, path string, flags int) (*os.File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, holdMax, fmt.Errorf("%s has been locked for %s", path, holdMax))
	defer cancel()
	wait := backoff.Policy{First: time.Millisecond, Max: 20 * time.Millisecond}
	for try := 0; ; try++ {
		if f, err := holdShared(path, flags); f != nil || err != nil {
			return f, err
		}
		if err := wait.Wait(ctx, try); err != nil {
			return nil, err
		}
	}
}

// holdShared takes a shared lock on a file and looks whether it still has its name: what
// removes an image holds the file, and then takes it away with the rest. It is nil where
// that is under way.
func holdShared(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|flags, 0o600)
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
	if errors.Is(err, fs.ErrNotExist) && flags != 0 {
		return nil, f.Close() // it is made anew
	}
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
