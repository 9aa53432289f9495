package cgroupfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// The kernel tells of a change in cgroup.events at once, but at most every 10 ms: a
	// group that is killed soon after its birth is read again meanwhile.
	firstPause = 200 * time.Microsecond
	lastPause  = 5 * time.Millisecond
	// shortWait is how long it is read so often, noticeWait the pause from then on.
	shortWait  = 100 * time.Millisecond
	noticeWait = 100 * time.Millisecond
)

func parsePopulated(r io.Reader) (bool, error) {
	m, err := ParseKeyed(r)
	if err != nil {
		return false, err
	}
	v, ok := m["populated"]
	if !ok {
		return false, errors.New("no populated line")
	}
	return v != 0, nil
}

// Populated reads cgroup.events: has the group or any below it a process.
func (d *Dir) Populated() (bool, error) {
	return Parse(d, "cgroup.events", parsePopulated)
}

// WaitEmpty returns nil when no process is left, or the group is gone. It holds a thread:
// the runtime's own timers and its poller are coarser than a group takes to die.
func (d *Dir) WaitEmpty(ctx context.Context) error {
	err := d.with("cgroup.events", unix.O_RDONLY, func(fd int) error {
		start := time.Now()
		for pause := firstPause; ; pause = min(2*pause, lastPause) {
			// Reading arms the notification of this open file.
			busy, err := d.populatedAt(fd)
			if err != nil || !busy {
				return err
			}
			waited := time.Since(start)
			if ctx.Err() != nil {
				return d.busyError("wait for empty", waited, ctx.Err())
			}
			if waited > shortWait {
				pause = noticeWait
			}
			if err := d.awaitNotice(fd, pause); err != nil {
				return err
			}
		}
	})
	if IsVanished(err) {
		return nil
	}
	return err
}

func (d *Dir) populatedAt(fd int) (bool, error) {
	b, err := readAll(fd)
	if err != nil {
		return false, WrapPath("read", d.Path+"/cgroup.events", err)
	}
	return parsePopulated(bytes.NewReader(b))
}

// awaitNotice blocks until cgroup.events changes, but not for longer than most.
func (d *Dir) awaitNotice(fd int, most time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
	bound := unix.NsecToTimespec(int64(most))
	if _, err := unix.Ppoll(fds, &bound, nil); err != nil && err != unix.EINTR {
		return WrapPath("ppoll", d.Path+"/cgroup.events", err)
	}
	return nil
}

// busyError names the processes that hold a group.
func (d *Dir) busyError(op string, after time.Duration, cause error) error {
	pids, err := d.Procs()
	if err != nil {
		cause = errors.Join(cause, err)
	}
	return fmt.Errorf("%s %s: pids %v after %s: %w: %w", op, d.Path, pids, after.Round(time.Millisecond), ErrBusy, cause)
}
