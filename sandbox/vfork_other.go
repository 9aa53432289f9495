//go:build !amd64 && !arm64

package sandbox

import "syscall"

// sharing is nothing where a shared stack would need assembly: the child gets
// a copy of the daemon's memory.
const sharing = 0

//go:nosplit
func vforkCall(trap, a1, a2 uintptr) (r1, errno uintptr) {
	r, _, e := syscall.RawSyscall(trap, a1, a2, 0)
	return r, uintptr(e)
}
