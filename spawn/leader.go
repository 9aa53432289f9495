package spawn

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leader is a tree's first process.
type leader interface {
	pid() int
	// signal does nothing to one that is gone, or to a later one with its number.
	signal(syscall.Signal) error
	// wait returns once it is gone. Called once.
	wait() (Exit, error)
}

// child is a leader born here.
type child struct{ proc *os.Process }

func (c child) pid() int                        { return c.proc.Pid }
func (c child) signal(sig syscall.Signal) error { return c.proc.Signal(sig) }

func (c child) wait() (Exit, error) {
	pollErr := awaitChild(c.proc.Pid) // else a thread waits in wait4(2)
	state, err := c.proc.Wait()
	if err != nil {
		return Exit{}, errors.Join(pollErr, err)
	}
	e := Exit{Code: state.ExitCode(), Known: true}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	return e, nil
}

// foundling is a leader that an earlier daemon has born: another process is its
// parent by now, and reaps it.
type foundling struct {
	number int
	pidfd  *os.File // non-blocking
}

func (f foundling) pid() int { return f.number }

func (f foundling) signal(sig syscall.Signal) error {
	return control(f.pidfd, func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
}

func (f foundling) wait() (Exit, error) {
	defer f.pidfd.Close()
	if err := awaitReadable(f.pidfd); err != nil {
		return Exit{}, err
	}
	var e Exit
	err := control(f.pidfd, func(fd int) error {
		e = lastStatus(fd)
		return nil
	})
	return e, err
}

// reapMax is how long init may take to reap an orphan.
const reapMax = 100 * time.Millisecond

// lastStatus asks the kernel for the exit status of somebody else's child,
// which it tells from Linux 6.15 on once that is reaped (PIDFD_INFO_EXIT).
func lastStatus(pidfd int) Exit {
	for end := time.Now().Add(reapMax); ; time.Sleep(time.Millisecond) {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		err := unix.IoctlPidfdInfo(pidfd, &info)
		if err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return exitOfWait(unix.WaitStatus(info.Exit_code))
		}
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) || time.Now().After(end) {
			return Exit{Code: -1}
		}
	}
}

func exitOfWait(ws unix.WaitStatus) Exit {
	if ws.Signaled() {
		return Exit{Code: -1, Signal: ws.Signal(), Known: true}
	}
	return Exit{Code: ws.ExitStatus(), Known: true}
}

// absent is the leader of a tree whose leader went while no daemon watched.
type absent struct{}

func (absent) pid() int                    { return 0 }
func (absent) signal(syscall.Signal) error { return os.ErrProcessDone }
func (absent) wait() (Exit, error)         { return Exit{Code: -1}, nil }

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

// openPidfd is a descriptor of a process that the runtime's poller can watch.
func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}
