package spawn

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// x32Bit marks a call of the x32 ABI in its number.
const x32Bit = 0x40000000

// noClone3 is a seccomp filter (Linux Documentation/userspace-api/seccomp_filter.rst)
// under which clone3 is a call the kernel doesn't have. CLONE_INTO_CGROUP takes
// any descriptor of a group's directory, O_PATH too, and asks neither the
// mount's flags nor Landlock; C libraries, Go and Rust fall back to clone,
// which can't name a group. The number is the same in every ABI.
func noClone3() *unix.SockFprog {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equals = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	program := []unix.SockFilter{
		{Code: load, K: 0}, // seccomp_data.nr
		{Code: equals, K: unix.SYS_CLONE3, Jt: 2},
		{Code: equals, K: unix.SYS_CLONE3 | x32Bit, Jt: 1},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}

// seccompWorks tells whether the kernel takes filters that answer with an error.
func seccompWorks() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}
