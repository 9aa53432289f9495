// Command noxstate executes a program in which ptrace can't read the extended
// processor state. User-Mode Linux before 6.13 keeps 2696 bytes for it and dies
// on hosts with AMX, whose kernel insists on 11008; told that there is none, it
// falls back to the state every x86-64 has. It needs no privilege.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (linux/seccomp.h); arguments are 64 bits wide,
// their low half comes first.
const (
	offsetSyscall = 0
	offsetArg0    = 16
	offsetArg2    = 32

	ptraceGetRegset = 0x4204
	noteXstate      = 0x202 // NT_X86_XSTATE (linux/elf.h)
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "noxstate:", err)
		os.Exit(125)
	}
}

func run(argv []string) error {
	if len(argv) == 0 || argv[0][0] != '/' {
		return fmt.Errorf("usage: noxstate /absolute/program [argument]...")
	}
	// The filter is this thread's, and execve is too.
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		load(offsetSyscall), unlessEqual(unix.SYS_PTRACE, 5),
		load(offsetArg0), unlessEqual(ptraceGetRegset, 3),
		load(offsetArg2), unlessEqual(noteXstate, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)),
		answer(unix.SECCOMP_RET_ALLOW),
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return fmt.Errorf("execve %s: %w", argv[0], syscall.Exec(argv[0], argv, os.Environ()))
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func unlessEqual(value uint32, skip uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: value}
}

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
