package cgroup

import "golang.org/x/sys/unix"

// kcmpVM is KCMP_VM of linux/kcmp.h: do two processes share their memory.
const kcmpVM = 1

// sharesMemory is false also where kcmp(2) is denied, see secondLook.
func sharesMemory(a, b int) bool {
	if b <= 0 || a == b {
		return false
	}
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return errno == 0 && order == 0
}
