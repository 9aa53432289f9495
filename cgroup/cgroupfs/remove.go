package cgroupfs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// RemoveTimeout is how long rmdir is retried before the janitor takes over.
	RemoveTimeout   = time.Second
	firstRmdirPause = 500 * time.Microsecond
	lastRmdirPause  = 20 * time.Millisecond
)

// RemoveTree removes the group at path and all groups below it, deepest first,
// retrying EBUSY until ctx ends: the kernel reports a group empty a little
// before it lets go of it. A group that is gone already is no error.
func RemoveTree(ctx context.Context, path string) error {
	return retryBusy(ctx, path, rmdirTree)
}

// RemoveEmpty is removeTree for a group that must have none below it.
func RemoveEmpty(ctx context.Context, path string) error { return retryBusy(ctx, path, Rmdir) }

func retryBusy(ctx context.Context, path string, remove func(string) error) error {
	for pause := firstRmdirPause; ; pause = min(2*pause, lastRmdirPause) {
		err := remove(path)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			pids, perr := ProcsAt(path)
			return errors.Join(fmt.Errorf("%w: pids %v: %w: %w", err, pids, ErrBusy, ctx.Err()), perr)
		case <-time.After(pause):
		}
	}
}

func rmdirTree(path string) error {
	err := Rmdir(path)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	// Groups below it are one reason for EBUSY.
	at, openErr := OpenDir(path)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	below := walkTree(at, func(*Dir) error { return nil }, func(parent int, name string) error {
		err := WithPerms(func() error { return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) },
			func() error { return unix.Fchmod(parent, DirMode) })
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return WrapPath("rmdir", path+"/.../"+name, err)
	})
	if below != nil && !IsVanished(below) {
		return below
	}
	return Rmdir(path)
}

func Rmdir(path string) error {
	err := unix.Rmdir(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return WrapPath("rmdir", path, err)
}
