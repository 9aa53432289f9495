//go:build !amd64 && !arm64

package sandbox

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharing is nothing where a shared stack would need assembly: the child gets
// a copy of the daemon's memory.
const sharing = 0

//go:nosplit
func vforkCall(trap, a1, a2 uintptr) (r1, errno uintptr) {
	r, _, e := syscall.RawSyscall(trap, a1, a2, 0)
	return r, uintptr(e)
}

// newChildStatus is in memory that a child shares.
func newChildStatus() (s *childStatus, free func(), err error) {
	page, err := unix.Mmap(-1, 0, int(unsafe.Sizeof(*s)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return (*childStatus)(unsafe.Pointer(&page[0])), func() { _ = unix.Munmap(page) }, nil
}
