package spawn

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstPassed is the descriptor at which passed files begin, as
// sd_listen_fds(3) wants it.
const firstPassed = 3

// Successor is the program that takes this process's place.
type Successor struct {
	Path string // absolute
	Argv []string
	Env  []string
	// Files are its descriptors 3 and up; beside them it has stdio only.
	Files []*os.File
	// Hold are signals that wait until the successor takes them. A Go program
	// lets none wait that would end it.
	Hold []syscall.Signal
}

// Exec replaces this process by its successor (execve(2)): the pid, the group
// and the children stay. It returns only when that failed, and nothing has
// changed then.
func (s Successor) Exec() error {
	failed := make(chan error, 1)
	go s.execApart(failed)
	return <-failed
}

// execApart works on a thread that is given up when it fails: it has a
// descriptor table of its own, so that the runtime's and everybody else's
// descriptors are not overwritten by the files passed on.
func (s Successor) execApart(failed chan<- error) {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread
	if unix.Gettid() == unix.Getpid() {
		// The first thread can't be ended, see launcher.
		defer runtime.UnlockOSThread()
		again := make(chan error, 1)
		go s.execApart(again)
		failed <- <-again
		return
	}
	failed <- s.exec()
}

func (s Successor) exec() error {
	held := signalSet(s.Hold)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &held, nil); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("unshare descriptors: %w", err)
	}
	if err := s.pass(); err != nil {
		return fmt.Errorf("pass descriptors: %w", err)
	}
	// Exec puts back the limit that the runtime has raised at the start: the
	// successor's children are to have it.
	var noFile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &noFile); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	err := syscall.Exec(s.Path, s.Argv, s.Env)
	// Raw: the runtime is not to take it for somebody else's wish.
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&noFile)), 0, 0, 0)
	err = &os.PathError{Op: "execve", Path: s.Path, Err: err}
	if errno != 0 {
		err = errors.Join(err, fmt.Errorf("prlimit: %w", errno))
	}
	return err
}

// signalSet is signals as the kernel takes them (sigsetops(3)).
func signalSet(signals []syscall.Signal) (set unix.Sigset_t) {
	const bits = 8 * int(unsafe.Sizeof(set.Val[0]))
	for _, sig := range signals {
		n := int(sig) - 1
		set.Val[n/bits] |= 1 << (n % bits)
	}
	return set
}

// pass puts the files where the successor looks for them and closes all else
// on its way.
func (s Successor) pass() error {
	if err := unix.CloseRange(firstPassed, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	// First out of the way, so that none is overwritten before its turn.
	aside := make([]int, len(s.Files))
	for i, f := range s.Files {
		err := control(f, func(fd int) (err error) {
			aside[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstPassed+len(s.Files))
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	for i, fd := range aside {
		if err := unix.Dup3(fd, firstPassed+i, 0); err != nil {
			return fmt.Errorf("%s: dup3: %w", s.Files[i].Name(), err)
		}
	}
	return nil
}
