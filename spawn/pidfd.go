package spawn

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// awaitExit waits until a child has exited, without reaping it. A pidfd is
// readable then (pidfd_open(2)), so the runtime's poller can watch it: waitid(2)
// would hold a thread for as long as the run lives.
func awaitExit(pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var pollErr error
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		var n int
		n, pollErr = unix.Poll(fds, 0)
		return n > 0 || pollErr != nil && pollErr != unix.EINTR
	})
	if err != nil {
		return err
	}
	return pollErr
}
