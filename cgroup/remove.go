package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// removeBound is how long rmdir is retried before the janitor takes over.
	removeBound    = time.Second
	firstRmdirWait = 500 * time.Microsecond
	lastRmdirWait  = 20 * time.Millisecond
)

// removeTree removes the group at path and all groups below it, deepest first,
// retrying EBUSY until ctx ends: the kernel reports a group empty a little
// before it lets go of it. A group that is gone already is no error.
func removeTree(ctx context.Context, path string) error {
	return retryBusy(ctx, path, rmdirTree)
}

// removeOne is removeTree for a group that must have none below it.
func removeOne(ctx context.Context, path string) error { return retryBusy(ctx, path, rmdir) }

func retryBusy(ctx context.Context, path string, remove func(string) error) error {
	for pause := firstRmdirWait; ; pause = min(2*pause, lastRmdirWait) {
		err := remove(path)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			pids, perr := procsAt(path)
			return errors.Join(fmt.Errorf("%w: pids %v: %w: %w", err, pids, ErrBusy, ctx.Err()), perr)
		case <-time.After(pause):
		}
	}
}

func rmdirTree(path string) error {
	err := rmdir(path)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	// Groups below it are one reason for EBUSY.
	at, openErr := openDir(path)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	below := descend(at, func(*dir) error { return nil }, func(parent int, name string) error {
		err := mended(func() error { return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR) },
			func() error { return unix.Fchmod(parent, ourMode) })
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return wrapPath("rmdir", path+"/.../"+name, err)
	})
	if below != nil && !vanished(below) {
		return below
	}
	return rmdir(path)
}

func rmdir(path string) error {
	err := unix.Rmdir(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return wrapPath("rmdir", path, err)
}
