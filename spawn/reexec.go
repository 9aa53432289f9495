package spawn

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstPassed is the descriptor at which passed files begin, as
// sd_listen_fds(3) wants it.
const firstPassed = 3

// Reexec is the program that is executed in this process's place.
type Reexec struct {
	Path string // absolute
	Argv []string
	Env  []string
	// Files are its descriptors 3 and up; beside them it has stdio only.
	Files []*os.File
	// BlockSignals are signals that wait until the new program takes them. A Go program
	// lets none wait that would end it.
	BlockSignals []syscall.Signal
}

// Exec replaces this program by the new one (execve(2)): the pid, the group
// and the children stay. It returns only when that failed, and nothing has
// changed then.
func (s Reexec) Exec() error {
	// A collection that an allocation begins has its thread ask the runtime's poller, whose
	// descriptor that thread does not have any more: the runtime would throw.
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(math.MaxInt64)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	failed := make(chan error, 1)
	go s.execOnThread(failed)
	return <-failed
}

// execOnThread works on a thread that is given up when it fails: it has a
// descriptor table of its own, so that the runtime's and other threads'
// descriptors are not overwritten by the files passed on.
func (s Reexec) execOnThread(failed chan<- error) {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread
	if unix.Gettid() == unix.Getpid() {
		// The first thread can't be ended, see launcher.
		defer runtime.UnlockOSThread()
		again := make(chan error, 1)
		go s.execOnThread(again)
		failed <- <-again
		return
	}
	failed <- s.exec()
}

func (s Reexec) exec() error {
	held := signalSet(s.BlockSignals)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &held, nil); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("unshare descriptors: %w", err)
	}
	if err := s.passFiles(); err != nil {
		return fmt.Errorf("pass descriptors: %w", err)
	}
	// Exec puts back the limit that the runtime has raised at the start: the
	// new program's children are to have it.
	var noFile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &noFile); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	err := syscall.Exec(s.Path, s.Argv, s.Env)
	// Raw: the runtime is not to take it for a wish of the program's.
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

// passFiles puts the files where the new program looks for them and closes all else
// on its way.
func (s Reexec) passFiles() error {
	if err := unix.CloseRange(firstPassed, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	// First out of the way, so that none is overwritten before its turn.
	copies := make([]int, len(s.Files))
	for i, f := range s.Files {
		err := control(f, func(fd int) (err error) {
			copies[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstPassed+len(s.Files))
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	for i, fd := range copies {
		if err := unix.Dup3(fd, firstPassed+i, 0); err != nil {
			return fmt.Errorf("%s: dup3: %w", s.Files[i].Name(), err)
		}
	}
	return nil
}
