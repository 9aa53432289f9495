package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

func compatCall(nr, a, b, path, argv uintptr) uintptr

// compatClone tries in a process of its own, for a filter may end the thread
// that makes such a call and leave the rest of the process waiting.
func compatClone(a *attempt) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	t := a.Task
	t.Way = inside + "32 bits"
	return a.again(exec.CommandContext(ctx, a.self), t)
}

// compatBirth asks for clone3 as a 32-bit program would, whose number a filter
// of system calls may not know.
func compatBirth(a *attempt) error {
	const bits = 0x40 // MAP_32BIT: such a program's pointers are short
	low, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|bits)
	if err != nil {
		return err
	}
	words := (*[11]uint64)(unsafe.Pointer(&low[0])) // struct clone_args
	path, argv, err := vector(a.self, task.Linger, a.Token)
	if err != nil {
		return err
	}
	for fd := range 3 {
		unix.CloseOnExec(fd) // no process is to wait for the marked process's end
	}
	var errs []error
	for _, dir := range a.targets() {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		words[0], words[4], words[10] = unix.CLONE_INTO_CGROUP, uint64(unix.SIGCHLD), uint64(fd)
		at := uintptr(unsafe.Pointer(&low[0]))
		got := int(compatCall(unix.SYS_CLONE3, at, 88, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0]))))
		runtime.KeepAlive(argv)
		if got > 0 {
			return nil
		}
		errs = append(errs, fmt.Errorf("clone3 by int 0x80 into %s: %w", dir, syscall.Errno(-got)))
	}
	return errors.Join(errs...)
}

func vector(args ...string) (*byte, []*byte, error) {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return nil, nil, err
	}
	return argv[0], argv, nil
}
