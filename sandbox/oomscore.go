package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// childOOMScore makes a run the kernel's first choice when the whole host is
// short: the daemon's own unit has a negative score, which children inherit.
const childOOMScore = 500

// ChildOOMScore is childOOMScore, or the score of the process that the
// oom_score_adj file (proc(5)) belongs to where that is higher.
func ChildOOMScore(path string) (int, error) {
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

// SetOOMScore gives a process its score; one that has ended already is no error.
// For a moment within execve its files in /proc are root's (the new memory is
// made dumpable late), and nothing tells when that is over.
func SetOOMScore(pid, score int) (err error) {
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

// oomScoreKeeper keeps the daemon's own oom_score_adj
// (Linux Documentation/filesystems/proc.rst, 3.1) what it was at start: any
// process of the same user may raise it, and so have the kernel end the daemon
// in place of itself. Lowering it back to what was given needs no capability.
type oomScoreKeeper struct {
	path  string
	given []byte // nil is unknown
}

func newOOMScoreKeeper(path string) (oomScoreKeeper, error) {
	was, err := os.ReadFile(path)
	if err != nil {
		return oomScoreKeeper{}, fmt.Errorf("score for the OOM killer: %w", err)
	}
	return oomScoreKeeper{path: path, given: bytes.TrimSpace(was)}, nil
}

// restore puts it back and says so.
func (g oomScoreKeeper) restore(log *slog.Logger) {
	if g.given == nil {
		return
	}
	now, err := os.ReadFile(g.path)
	if now = bytes.TrimSpace(now); err == nil && bytes.Equal(now, g.given) {
		return
	}
	if err == nil {
		err = os.WriteFile(g.path, g.given, 0o644)
	}
	log.Warn("somebody changed the daemon's oom_score_adj: put back", "to", string(g.given), "from", string(now), "err", err)
}
