// Package memfd makes files that have no name, lie in memory, and can't be changed any
// more (memfd_create(2)). What inherits one may open it anew, whatever its user.
//
//	Sealed    content for another process to read
//	Program   a program for it to execute
package memfd

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sealed is a file at its beginning, which can't be executed where the kernel knows the
// difference.
func Sealed(name string, content []byte) (*os.File, error) {
	return sealed(name, content, unix.MFD_NOEXEC_SEAL)
}

// Program can be executed by its descriptor. A host may forbid that: vm.memfd_noexec = 2.
// The content is not copied in this process.
func Program(name, content string) (*os.File, error) {
	return sealed(name, unsafe.Slice(unsafe.StringData(content), len(content)), unix.MFD_EXEC)
}

// sealed makes a file of a kind: a flag that a host with vm.memfd_noexec wants to be told.
func sealed(name string, content []byte, kind int) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|kind)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all are of one kind, which can be executed
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, &os.PathError{Op: "memfd_create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteAt(content, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "write", Path: name, Err: err}, f.Close())
	}
	return f, nil
}
