package spawn

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// awaitChild waits until a child has exited, without reaping it: waitid(2)
// would hold a thread for as long as the run lives.
func awaitChild(ctx context.Context, pid int) error {
	f, err := openPidfd(pid)
	if err != nil {
		return err
	}
	defer f.Close()
	return awaitReadable(ctx, f)
}

// awaitReadable waits for a process to exit: its pidfd is readable then
// (pidfd_open(2)). It returns ctx's error when that ends first.
func awaitReadable(ctx context.Context, pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	// A file closed meanwhile has no reader to be woken.
	defer context.AfterFunc(ctx, func() { _ = pidfd.SetReadDeadline(time.Unix(1, 0)) })()
	var pollErr error
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		var n int
		n, pollErr = unix.Poll(fds, 0)
		return n > 0 || pollErr != nil && pollErr != unix.EINTR
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return pollErr
}
