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
	firstPause = 50 * time.Microsecond
	lastPause  = 5 * time.Millisecond
	// shortWait is how long emptiness is read directly; the kernel sends
	// cgroup.events notifications at most every 10 ms, so they only pay later.
	shortWait = 100 * time.Millisecond
	// noticeWait bounds one wait for a notification, so that ctx is looked at.
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

// WaitEmpty returns nil when no process is left, or the group is gone.
func (d *Dir) WaitEmpty(ctx context.Context) error {
	start := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		busy, err := d.Populated()
		if IsVanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !busy {
			return nil
		}
		if ctx.Err() != nil {
			return d.busyError("wait for empty", time.Since(start), ctx.Err())
		}
		if time.Since(start) > shortWait {
			if err := d.awaitNotice(); err != nil && !IsVanished(err) {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// awaitNotice blocks until cgroup.events changes or noticeWait is over.
func (d *Dir) awaitNotice() error {
	return d.with("cgroup.events", unix.O_RDONLY, func(fd int) error {
		// Reading arms the notification of this open file.
		b, err := readAll(fd)
		if err != nil {
			return WrapPath("read", d.Path+"/cgroup.events", err)
		}
		busy, err := parsePopulated(bytes.NewReader(b))
		if err != nil || !busy {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err := unix.Poll(fds, int(noticeWait.Milliseconds())); err != nil && err != unix.EINTR {
			return WrapPath("poll", d.Path+"/cgroup.events", err)
		}
		return nil
	})
}

// busyError names the processes that hold a group.
func (d *Dir) busyError(op string, after time.Duration, cause error) error {
	pids, err := d.Procs()
	if err != nil {
		cause = errors.Join(cause, err)
	}
	return fmt.Errorf("%s %s: pids %v after %s: %w: %w", op, d.Path, pids, after.Round(time.Millisecond), ErrBusy, cause)
}
