package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

// errNoDaemon is wrapped when no daemon holds a state directory.
var errNoDaemon = errors.New("no daemon is running on it")

// lockHolder is the daemon of a state directory, as this process counts
// processes. The pid that its lock file tells is as the daemon counts them, which
// in a container is 1, say, and could be anything, for runs of the same user can
// write it: the process must hold the lock as the kernel sees it, know itself by
// that pid, and be the user whose directory it is.
func lockHolder(path string) (pid int, err error) {
	f, err := openPlain(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("state directory: %s: %w", path, errNoDaemon)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var file unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &file); err != nil {
		return 0, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0, err
	}
	told, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || told < 1 {
		return 0, fmt.Errorf("state directory: %s: %q is no process id: %w", path, text, errNoDaemon)
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0, err
	}
	defer locks.Close()
	holders, err := parseLocks(locks, file.Ino)
	for _, pid := range holders {
		status, statusErr := procinfo.Host.Status(pid)
		if statusErr != nil || status.InnerPID != told {
			err = errors.Join(err, statusErr)
			continue
		}
		// The directory's owner in /proc is root for a process that can't be dumped, as ours are.
		if owner := ownerFor(pid, path, file); status.UID != int(owner) {
			return 0, fmt.Errorf("state directory: %s: its owner is user %d, and process %d is user %d's", path, owner, pid, status.UID)
		}
		return pid, nil
	}
	return 0, errors.Join(fmt.Errorf("state directory: %s: %w", path, errNoDaemon), err)
}

// ownerFor is a file's owner as a process sees it: from systemd 257 on the
// directory of a dynamic user is an idmapped mount (mount_setattr(2)), and
// user nobody's outside of the unit. Where that can't be looked at, or is another
// file, the owner is the one that is seen here.
func ownerFor(pid int, path string, file unix.Stat_t) uint32 {
	var inside unix.Stat_t
	err := unix.Lstat(filepath.Join("/proc", strconv.Itoa(pid), "root", path), &inside)
	if err != nil || inside.Ino != file.Ino || inside.Dev != file.Dev {
		return file.Uid
	}
	return inside.Uid
}

// parseLocks gives the processes that hold a lock of flock(2) on a file, by
// /proc/locks (proc_locks(5)): "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF".
// Some file systems have another device there than in stat(2). One that this
// process can't see is 0 there.
func parseLocks(r io.Reader, inode uint64) (pids []int, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text()) // an arrow is in front of what waits
		if len(f) != 8 || f[1] != "FLOCK" || f[3] != "WRITE" || !strings.HasSuffix(f[5], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, lines.Err()
}

// errAlive is wrapped when a daemon holds the state directory.
var errAlive = errors.New("a daemon is running on it")

// lockState takes the lock that a daemon holds for its whole life (run.Open
// takes the same file). A state directory that isn't there is free: then
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
