package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// unblocked is the same file, with a descriptor of our own whose writes can be
// given up, where the kernel can give one, and that does not end the process when
// its reader has gone (os/signal has the rule for descriptors 1 and 2). Where it
// can't, w is as it was: a write then may hold its goroutine, and nothing else.
//
// What the runtime itself writes as it dies goes to the descriptor that was
// given. It takes the new one's place, so that a pipe nobody reads does not keep
// a process that has panicked.
func unblocked(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return w
	}
	own, err := ownDescription(f)
	if err != nil {
		return w
	}
	return own
}

func ownDescription(f *os.File) (own *os.File, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var ownErr error
	err = conn.Control(func(given uintptr) { fd, ownErr = again(int(given)) })
	if err = errors.Join(err, ownErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// again opens what a descriptor leads to once more: O_NONBLOCK of the given one
// would be that of every process that shares it.
func again(given int) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(given, &st); err != nil {
		return -1, os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		// A socket can't be opened again, and is hardly shared: a service manager
		// makes one for each service.
		if err := unix.SetNonblock(given, true); err != nil {
			return -1, os.NewSyscallError("fcntl", err)
		}
	case unix.S_IFIFO, unix.S_IFCHR:
		path := fmt.Sprintf("/proc/self/fd/%d", given)
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, os.NewSyscallError("dup3", unix.Dup3(fd, given, 0))
		}
	}
	fd, err := unix.FcntlInt(uintptr(given), unix.F_DUPFD_CLOEXEC, 3)
	return fd, os.NewSyscallError("fcntl", err)
}

func isAgain(err error) bool { return errors.Is(err, unix.EAGAIN) }
