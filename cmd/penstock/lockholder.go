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
)

// errNobody is wrapped when no daemon holds a state directory.
var errNobody = errors.New("no daemon is running on it")

// lockHolder is the daemon of a state directory. The pid that its lock file
// tells could be anything, for runs of the same user can write it: the process
// must be that user's, and hold the lock as the kernel sees it.
func lockHolder(path string) (pid int, err error) {
	f, err := openPlain(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("state directory: %s: %w", path, errNobody)
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
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("state directory: %s: %q is no process id: %w", path, text, errNobody)
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0, err
	}
	defer locks.Close()
	if holds, err := parseLocks(locks, pid, file.Ino); err != nil || !holds {
		return 0, errors.Join(fmt.Errorf("state directory: %s: %w", path, errNobody), err)
	}
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer status.Close()
	owner := ownerFor(pid, path, file)
	if uid, err := parseUID(status); err != nil || uid != uint64(owner) {
		return 0, errors.Join(fmt.Errorf("state directory: %s: its owner is user %d, and process %d is user %d's", path, owner, pid, uid), err)
	}
	return pid, nil
}

// ownerFor is a file's owner as a process sees it: from systemd 257 on the
// directory of a dynamic user is an idmapped mount (mount_setattr(2)), and
// nobody's outside of the unit. Where that can't be looked at, or is another
// file, the owner is the one that is seen here.
func ownerFor(pid int, path string, file unix.Stat_t) uint32 {
	var inside unix.Stat_t
	err := unix.Lstat(filepath.Join("/proc", strconv.Itoa(pid), "root", path), &inside)
	if err != nil || inside.Ino != file.Ino || inside.Dev != file.Dev {
		return file.Uid
	}
	return inside.Uid
}

// parseLocks looks for a lock of flock(2) in /proc/locks (proc_locks(5)):
// "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF". Some file systems have
// another device there than in stat(2).
func parseLocks(r io.Reader, pid int, inode uint64) (holds bool, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text()) // an arrow is in front of who waits
		if len(f) == 8 && f[1] == "FLOCK" && f[3] == "WRITE" && f[4] == strconv.Itoa(pid) &&
			strings.HasSuffix(f[5], ":"+strconv.FormatUint(inode, 10)) {
			return true, nil
		}
	}
	return false, lines.Err()
}

// parseUID is the real user of /proc/PID/status (proc_pid_status(5)). The
// directory's owner is root's for a process that can't be dumped, as ours are.
func parseUID(r io.Reader) (uint64, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if ids, ok := strings.CutPrefix(lines.Text(), "Uid:"); ok {
			return strconv.ParseUint(strings.Fields(ids + " -")[0], 10, 32)
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("status: no user"))
}
