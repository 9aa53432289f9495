package sandbox

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// x32Bit marks a call of amd64's x32 ABI in its number; no other ABI has so many.
const x32Bit = 0x40000000

// Offsets in struct seccomp_data (linux/seccomp.h), of machines that store the
// lower half of a word first, as all that Go has calls for here.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArgs = 16
)

// syscallNumbers are what one ABI calls the calls whose arguments are looked at.
type syscallNumbers struct {
	arch, clone, prlimit uint32
	signals              []uint32 // kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_open: a pid comes first
	keys                 []uint32 // add_key, request_key, keyctl
}

// abis are the ABIs a process can use on this machine, its own first.
func abis() []syscallNumbers {
	switch runtime.GOARCH {
	case "amd64":
		return []syscallNumbers{{unix.AUDIT_ARCH_X86_64, 56, 302, []uint32{62, 200, 234, 129, 297, 434}, []uint32{248, 249, 250}}, {unix.AUDIT_ARCH_I386, 120, 340, []uint32{37, 238, 270, 178, 335, 434}, []uint32{286, 287, 288}}}
	case "arm64":
		return []syscallNumbers{{unix.AUDIT_ARCH_AARCH64, 220, 261, []uint32{129, 130, 131, 138, 240, 434}, []uint32{217, 218, 219}}, {unix.AUDIT_ARCH_ARM, 120, 369, []uint32{37, 238, 268, 178, 363, 434}, []uint32{309, 310, 311}}}
	}
	return nil
}

// filter is a seccomp program under construction.
type filter []unix.SockFilter

func (f *filter) load(offset uint32) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

// jump goes on past yes or no instructions; how is BPF_JEQ or BPF_JSET.
func (f *filter) jump(how uint16, k uint32, yes, no uint8) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, K: k, Jt: yes, Jf: no})
}

func (f *filter) allow() { f.answer(unix.SECCOMP_RET_ALLOW) }

func (f *filter) refuse(errno unix.Errno) { f.answer(unix.SECCOMP_RET_ERRNO | uint32(errno)) }

func (f *filter) answer(what uint32) {
	*f = append(*f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what})
}

// What a run may not call (Linux Documentation/userspace-api/seccomp_filter.rst) is in two
// filters. The kernel answers what the stricter of the two says. Putting one on costs the more
// the longer it is, so the long one is put on once, by the thread that all runs are born from.

// bornWith is what children have from the launcher thread. Refused are
//   - the x32 ABI: it has numbers of its own for some calls below, and no program
//     is built for it any more.
//   - clone with CLONE_PARENT: the child would be the daemon's, which would have
//     to reap it.
//   - prlimit that sets a limit of another process: nothing but the user id is
//     asked, and the daemon may have the same.
func bornWith() *unix.SockFprog {
	var f filter
	f.load(offsetCall)
	f.jump(unix.BPF_JSET, x32Bit, 0, 1)
	f.refuse(unix.ENOSYS)
	for _, abi := range abis() {
		f.inABI(abi, limitArguments(abi))
	}
	return f.program()
}

// putOn is what each child puts on itself, as its launcher could not do without. Refused are
//   - clone3, as a call the kernel doesn't have: CLONE_INTO_CGROUP takes any
//     descriptor of a group's directory, O_PATH too, and asks neither the mount's
//     flags nor Landlock. C libraries, Go and Rust fall back to clone, which can't
//     name a group. Its number is the same in every ABI.
//   - signals to the protected, as kill(2) takes them: a guard against accidents
//     (kill -1, pkill -u), for the daemon's threads have numbers, too.
func putOn(protected []uint32) *unix.SockFprog { return putOnWith(nil, protected) }

// putOnInner is putOn for a run with a root file system of its own. Keys have no namespace:
// those of its user are refused to it, as container engines do.
func putOnInner(protected []uint32) *unix.SockFprog { return putOnWith(refuseKeys, protected) }

// putOnWith begins with what is refused in each ABI.
func putOnWith(refused func(syscallNumbers) filter, protected []uint32) *unix.SockFprog {
	var f filter
	f.load(offsetCall)
	f.jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1)
	f.refuse(unix.ENOSYS)
	if refused != nil {
		for _, abi := range abis() {
			f.inABI(abi, refused(abi))
		}
	}
	if len(protected) > 0 {
		for _, abi := range abis() {
			f.inABI(abi, refuseSignals(abi, protected))
		}
	}
	return f.program()
}

// protectedPIDs are what a run may not signal where no Landlock scope keeps it from
// all processes outside: the daemon, its process group, and all at once.
func protectedPIDs(landlock int) []uint32 {
	if landlock >= ScopeABI {
		return nil
	}
	return protectedPIDsOf(os.Getpid(), unix.Getpgrp())
}

// protectedPIDsOf leaves out a process group outside of the daemon's pid namespace,
// which is 0: to a run that number is its own group.
func protectedPIDsOf(pid, group int) []uint32 {
	all := []uint32{uint32(pid), uint32(1<<32 - 1)}
	if group > 0 {
		all = append(all, uint32(-group))
	}
	return all
}

// limitArguments refuses calls of one ABI by what they are given.
func limitArguments(abi syscallNumbers) (body filter) {
	body.load(offsetCall)
	body.jump(unix.BPF_JEQ, abi.clone, 0, 4)
	body.load(offsetArgs)
	body.jump(unix.BPF_JSET, unix.CLONE_PARENT, 0, 1)
	body.refuse(unix.EPERM)
	body.allow()
	body.jump(unix.BPF_JEQ, abi.prlimit, 0, 7)
	body.load(offsetArgs) // the pid; 0 is itself
	body.jump(unix.BPF_JEQ, 0, 5, 0)
	body.load(offsetArgs + 2*8) // the new limit's address; none only asks
	body.jump(unix.BPF_JEQ, 0, 0, 2)
	body.load(offsetArgs + 2*8 + 4)
	body.jump(unix.BPF_JEQ, 0, 1, 0)
	body.refuse(unix.EPERM)
	body.allow()
	return body
}

// refuseKeys refuses all there is of keyrings(7) in one ABI.
func refuseKeys(abi syscallNumbers) (body filter) {
	body.load(offsetCall)
	for i, call := range abi.keys {
		left := uint8(len(abi.keys) - 1 - i)
		missed := uint8(0)
		if left == 0 {
			missed = 1
		}
		body.jump(unix.BPF_JEQ, call, left, missed)
	}
	body.refuse(unix.EPERM)
	return body
}

// refuseSignals refuses those of one ABI to the protected.
func refuseSignals(abi syscallNumbers, protected []uint32) (body filter) {
	body.load(offsetCall)
	for _, call := range abi.signals {
		body.jump(unix.BPF_JEQ, call, 0, uint8(len(protected)+3))
		body.load(offsetArgs)
		for i, pid := range protected {
			body.jump(unix.BPF_JEQ, pid, uint8(len(protected)-i), 0)
		}
		body.allow()
		body.refuse(unix.EPERM)
	}
	body.allow()
	return body
}

// inABI goes through body for calls of one ABI; it ends in an answer, or goes on behind.
func (f *filter) inABI(abi syscallNumbers, body filter) {
	f.load(offsetArch)
	f.jump(unix.BPF_JEQ, abi.arch, 0, uint8(len(body)))
	*f = append(*f, body...)
}

// program ends a filter: what no instruction has refused is allowed.
func (f *filter) program() *unix.SockFprog {
	f.allow()
	return &unix.SockFprog{Len: uint16(len(*f)), Filter: &(*f)[0]}
}

// putOnThread gives the calling thread, which has no_new_privs, a filter; children of
// it are born with that.
func putOnThread(filter *unix.SockFprog) error {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(filter)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// seccompWorks tells whether the kernel takes filters that answer with an error.
func seccompWorks() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}
