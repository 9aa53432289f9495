package cgroup

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
	m, err := parseFlat(r)
	if err != nil {
		return false, err
	}
	v, ok := m["populated"]
	if !ok {
		return false, errors.New("no populated line")
	}
	return v != 0, nil
}

// populated reads cgroup.events: has the group or any below it a process.
func (d *dir) populated() (bool, error) {
	return parseIn(d, "cgroup.events", parsePopulated)
}

// waitEmpty returns nil when no process is left, or the group is gone.
func (d *dir) waitEmpty(ctx context.Context) error {
	start := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		busy, err := d.populated()
		if vanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !busy {
			return nil
		}
		if ctx.Err() != nil {
			return d.busy("wait for empty", time.Since(start), ctx.Err())
		}
		if time.Since(start) > shortWait {
			if err := d.awaitNotice(); err != nil && !vanished(err) {
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
func (d *dir) awaitNotice() error {
	return d.with("cgroup.events", unix.O_RDONLY, func(fd int) error {
		// Reading arms the notification of this open file.
		b, err := readAll(fd)
		if err != nil {
			return wrapPath("read", d.path+"/cgroup.events", err)
		}
		busy, err := parsePopulated(bytes.NewReader(b))
		if err != nil || !busy {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err := unix.Poll(fds, int(noticeWait.Milliseconds())); err != nil && err != unix.EINTR {
			return wrapPath("poll", d.path+"/cgroup.events", err)
		}
		return nil
	})
}

// busy names the processes that hold a group.
func (d *dir) busy(op string, after time.Duration, cause error) error {
	pids, err := d.procs()
	if err != nil {
		cause = errors.Join(cause, err)
	}
	return fmt.Errorf("%s %s: pids %v after %s: %w: %w", op, d.path, pids, after.Round(time.Millisecond), ErrBusy, cause)
}
