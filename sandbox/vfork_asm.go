//go:build amd64 || arm64

package sandbox

import "golang.org/x/sys/unix"

// sharing lets the child borrow the daemon's memory until it executes, which
// spares the copy of its page tables.
const sharing = unix.CLONE_VM

// newChildStatus is in memory that a child shares.
func newChildStatus() (s *childStatus, free func(), err error) {
	return &childStatus{}, func() {}, nil
}

// vforkCall is a raw system call that may return twice on one stack.
//
//go:noescape
func vforkCall(trap, a1, a2 uintptr) (r1, errno uintptr)
