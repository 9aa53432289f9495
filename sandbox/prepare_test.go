package sandbox

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// As under kernel.yama.ptrace_scope = 2, which is no reason to refuse.
func TestNoFileLimit_NoTracing(t *testing.T) {
	var f filter
	f.load(offsetCall)
	f.jump(unix.BPF_JEQ, unix.SYS_PTRACE, 0, 1)
	f.refuse(unix.EPERM)
	f.allow()
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	done := make(chan error, 1)
	go onThread(func() {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			done <- err
			return
		}
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
			done <- errno
			return
		}
		l, err := noFileLimit()
		if l != nil {
			t.Errorf("limit %+v of a child that can't be traced", l)
		}
		done <- err
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
}
