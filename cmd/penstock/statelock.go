package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errAlive is wrapped when a daemon holds the state directory.
var errAlive = errors.New("a daemon is running on it")

// lockState takes the lock that a daemon holds for its whole life (run.Open
// takes the same file). A state directory that isn't there is nobody's: then
// release does nothing.
func lockState(dir string) (release func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid, _ := io.ReadAll(io.LimitReader(f, 32)) // only for the message
		return nil, errors.Join(fmt.Errorf("state directory: %s: %w (pid %s)", dir, errAlive, strings.TrimSpace(string(pid))), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state directory: lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing is what releases it
}
