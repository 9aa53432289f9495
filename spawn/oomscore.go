package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// childOOMScore makes a run the kernel's first choice when the whole host is
// short: the daemon's own unit has a negative score, which children inherit.
const childOOMScore = 500

// scoreOfChildren is childOOMScore, or the score of the process that the
// oom_score_adj file (proc(5)) belongs to where that is higher.
func scoreOfChildren(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	own, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", path, err)
	}
	return max(own, childOOMScore), nil
}

// scoreTries and scorePause bound the wait for a new process to be ours to write to.
const (
	scoreTries = 20
	scorePause = 500 * time.Microsecond
)

// setOOMScore gives a process its score; one that has ended already is no error.
// For a moment within execve its files in /proc are root's (the new memory is
// made dumpable late), and nothing tells when that is over.
func setOOMScore(pid, score int) (err error) {
	for range scoreTries {
		if err = writeOOMScore(pid, score); !errors.Is(err, unix.EACCES) {
			return err
		}
		time.Sleep(scorePause)
	}
	return err
}

// writeOOMScore uses a bare descriptor: this is on the way of every start.
func writeOOMScore(pid, score int) error {
	path := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, strconv.AppendInt(nil, int64(score), 10))
		err = errors.Join(err, unix.Close(fd))
	}
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("write %s: %w", path, err)
}
