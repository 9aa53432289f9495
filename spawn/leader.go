package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
	"penstock/outcome"
)

// leader is a tree's first process.
type leader interface {
	pid() int
	// signal does nothing to one that is gone, or to a later one with its number.
	signal(syscall.Signal) error
	// await returns once it is gone, or with ctx's error when that ends first.
	// Called once.
	await(ctx context.Context) error
	// reap takes its exit status, after await: no other call can then.
	reap() (outcome.Exit, error)
}

// child is a leader started here, in this life of the process or in the one before
// its last execve(2).
type child struct{ proc *os.Process }

func (c child) pid() int                        { return c.proc.Pid }
func (c child) signal(sig syscall.Signal) error { return c.proc.Signal(sig) }

// await leaves it a zombie. It is for where exitPoller has no descriptor: a thread waits,
// whatever ctx says.
func (c child) await(context.Context) error {
	for {
		if err := unix.Waitid(unix.P_PID, c.proc.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			return err
		}
	}
}

func (c child) reap() (outcome.Exit, error) {
	state, err := c.proc.Wait()
	if err != nil {
		return outcome.Exit{}, err
	}
	e := outcome.Exit{Code: state.ExitCode(), Known: true}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	return e, nil
}

// orphan is a leader that an earlier daemon has started: another process is its
// parent by now, and reaps it.
type orphan struct {
	number int
	pidfd  *os.File     // non-blocking
	last   outcome.Exit // after await
}

func (f *orphan) pid() int { return f.number }

func (f *orphan) signal(sig syscall.Signal) error {
	return control(f.pidfd, func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
}

// await takes the status, too: it can't be had for long.
func (f *orphan) await(ctx context.Context) error {
	defer f.pidfd.Close()
	for awaitReadable(ctx, f.pidfd) != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// It can't be waited for, which says nothing of its end.
		if f.signal(0) != nil {
			break
		}
		time.Sleep(reapMax)
	}
	return control(f.pidfd, func(fd int) error {
		f.last = lastStatus(fd, f.number)
		return nil
	})
}

func (f *orphan) reap() (outcome.Exit, error) { return f.last, nil }

// reapMax is how long init may take to reap an orphan.
const reapMax = 100 * time.Millisecond

// lastStatus asks for the exit status of another process's child. The kernel
// tells it while that is a zombie (proc_pid_stat(5), exit_code), and from Linux
// 6.15 on afterwards (PIDFD_INFO_EXIT).
func lastStatus(pidfd, pid int) outcome.Exit {
	for end := time.Now().Add(reapMax); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if stat, err := procinfo.Host.Stat(pid); err == nil && stat.State == "Z" && unix.PidfdSendSignal(pidfd, 0, nil, 0) == nil {
			return exitOf(unix.WaitStatus(stat.WaitStatus)) // the pidfd's process is there still: the number is its own
		}
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		err := unix.IoctlPidfdInfo(pidfd, &info)
		if err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return exitOf(unix.WaitStatus(info.Exit_code))
		}
	}
	return outcome.Exit{Code: -1}
}

func exitOf(ws unix.WaitStatus) outcome.Exit {
	if ws.Signaled() {
		return outcome.Exit{Code: -1, Signal: ws.Signal(), Known: true}
	}
	return outcome.Exit{Code: ws.ExitStatus(), Known: true}
}

// unknownLeader stands for the leader of a tree that went while no daemon ran.
type unknownLeader struct{}

func (unknownLeader) pid() int                    { return 0 }
func (unknownLeader) signal(syscall.Signal) error { return os.ErrProcessDone }
func (unknownLeader) await(context.Context) error { return nil }
func (unknownLeader) reap() (outcome.Exit, error) { return outcome.Exit{Code: -1}, nil }

func control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var doErr error
	if err := conn.Control(func(fd uintptr) { doErr = do(int(fd)) }); err != nil {
		return err
	}
	return doErr
}

// isChild tells whether this process is the one to reap it.
func isChild(pidfd *os.File) bool {
	return control(pidfd, func(fd int) error {
		return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	}) == nil
}

// openPidfd is a descriptor of a process that the runtime's poller can watch.
func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
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
