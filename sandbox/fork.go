package sandbox

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The runtime's own preparation of a fork. Go keeps these two for packages
// that fork by themselves (go.dev/issue/67401). A third, of the child, resets its signal
// handlers one by one: clone3 does it at once (CLONE_CLEAR_SIGHAND).

//go:linkname runtimeBeforeFork syscall.runtime_BeforeFork
func runtimeBeforeFork()

//go:linkname runtimeAfterFork syscall.runtime_AfterFork
func runtimeAfterFork()

// cloneArgs is struct clone_args of clone3(2), version 2.
type cloneArgs struct {
	flags, pidFD, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// signalSetSize is sizeof(sigset_t) as the kernel has it.
const signalSetSize = 8

// stage is what a child was about when it failed.
type stage uint32

const (
	stageNone stage = iota
	stageSession
	stageIdentity
	stageDirectory
	stageStartDir
	stageFiles
	stageSandbox
	stageExec
	stageProbe // tells what the probe found instead of executing
)

// childStatus is what a child says when it does not execute. It lies in memory that
// both have, and the daemon goes on when the child has executed or is gone (CLONE_VFORK).
type childStatus struct {
	failed bool // the child has reached its end; else it executes, or was killed before
	stage  stage
	errno  syscall.Errno
	second syscall.Errno // stageProbe only: of clone3
	third  syscall.Errno // stageProbe only: of making the file probeStore
}

// childSpec is everything the child needs between clone3 and execve, laid out
// beforehand: it may not allocate, nor call what isn't a raw system call.
type childSpec struct {
	clone      cloneArgs
	path, dir  *byte // dir nil is the daemon's own
	startDir   *Directory
	argv, envv **byte
	files      []uintptr // what become its descriptors from 0 on
	stdio      [3]uintptr
	credential *syscall.Credential
	groups     *uint32
	noFile     *syscall.Rlimit
	domain     int // Landlock rule set; -1 is none
	filter     *unix.SockFprog
	probe      *byte // a cgroup.procs file the child must not be able to open
	probeStore *byte // a file the child must not be able to make; may be nil
	leaderAttr *byte // of the group, for the child's pid; nil without a group
	leaderPID  int32 // that pid
	noSignals  unix.Sigset_t
	status     *childStatus
}

// fork makes the child, which goes on from here and leaves only by execve or exit.
//
//go:noinline
//go:norace
//go:nocheckptr
func (b *childSpec) fork() (pid, errno uintptr) {
	// Everything the child touches is prepared, or shared stack slots would be
	// written behind the parent's back.
	var err syscall.Errno
	var got uintptr
	var i uintptr
	runtimeBeforeFork()
	pid, errno = vforkCall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&b.clone)), unsafe.Sizeof(b.clone))
	if errno != 0 || pid != 0 {
		return pid, errno // the caller calls runtimeAfterFork
	}

	b.status.stage = stageSession
	if _, _, err = syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); err != 0 {
		goto failed
	}
	// The runtime has blocked all signals; the launcher's thread has none blocked.
	if _, _, err = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&b.noSignals)), 0, signalSetSize, 0, 0); err != 0 {
		goto failed
	}

	// So that a daemon that is killed now shows which process was the
	// first. Without extended attributes the next one has to guess.
	if b.leaderAttr != nil {
		got, _, _ = syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
		b.leaderPID = int32(got)
		_, _, _ = syscall.RawSyscall6(unix.SYS_FSETXATTR, uintptr(b.clone.cgroup), uintptr(unsafe.Pointer(b.leaderAttr)), uintptr(unsafe.Pointer(&b.leaderPID)), unsafe.Sizeof(b.leaderPID), 0, 0)
	}

	b.status.stage = stageIdentity
	if b.credential != nil {
		// Before the user id goes, and with it the right to do it. An unknown
		// capability ends the list.
		for i = 0; i < 64; i++ {
			if _, _, err = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, i, 0); err != 0 {
				break
			}
		}
		if !b.credential.NoSetGroups {
			if _, _, err = syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(b.credential.Groups)), uintptr(unsafe.Pointer(b.groups)), 0); err != 0 {
				goto failed
			}
		}
		if _, _, err = syscall.RawSyscall(unix.SYS_SETGID, uintptr(b.credential.Gid), 0, 0); err != 0 {
			goto failed
		}
		if _, _, err = syscall.RawSyscall(unix.SYS_SETUID, uintptr(b.credential.Uid), 0, 0); err != 0 {
			goto failed
		}
	}
	// Keys of the daemon's session are not the run's. A kernel without keys, or
	// a user with too many, is no reason to refuse.
	_, _, _ = syscall.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)

	b.status.stage = stageDirectory
	if b.dir != nil {
		if _, _, err = syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(b.dir)), 0, 0); err != 0 {
			goto failed
		}
	}

	// Not by the descriptor that is held: it belongs to the mount namespace of
	// the daemon, where nothing is masked for a child that goes up from there.
	b.status.stage = stageStartDir
	if b.startDir != nil {
		if _, _, err = syscall.RawSyscall6(unix.SYS_STATX, atCwd, uintptr(unsafe.Pointer(&b.startDir.dot)), 0, unix.STATX_INO, uintptr(unsafe.Pointer(&b.startDir.got)), 0); err != 0 {
			goto failed
		}
		if b.startDir.got.Ino != b.startDir.want.Ino || b.startDir.got.Dev_major != b.startDir.want.Dev_major || b.startDir.got.Dev_minor != b.startDir.want.Dev_minor {
			err = syscall.ESTALE
			goto failed
		}
	}

	b.status.stage = stageFiles
	for i = 0; i < uintptr(len(b.files)); i++ {
		if _, _, err = syscall.RawSyscall(unix.SYS_DUP3, b.files[i], i, 0); err != 0 {
			goto failed
		}
	}
	if _, _, err = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(len(b.files)), 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != 0 {
		goto failed
	}
	if b.noFile != nil {
		if _, _, err = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(b.noFile)), 0, 0, 0); err != 0 {
			goto failed
		}
	}

	b.status.stage = stageSandbox
	if b.domain >= 0 {
		if _, _, err = syscall.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(b.domain), 0, 0); err != 0 {
			goto failed
		}
	}
	if b.filter != nil {
		if _, _, err = syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(b.filter))); err != 0 {
			goto failed
		}
	}

	if b.probe != nil {
		b.status.stage = stageProbe
		_, _, b.status.second = syscall.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
		if b.probeStore != nil {
			if got, _, err = syscall.RawSyscall6(unix.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(b.probeStore)), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600, 0, 0); err == 0 {
				_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, got, 0, 0)
			}
			b.status.third = err
		}
		if got, _, err = syscall.RawSyscall6(unix.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(b.probe)), unix.O_WRONLY|unix.O_CLOEXEC, 0, 0, 0); err == 0 {
			_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, got, 0, 0)
		}
		goto failed
	}

	b.status.stage = stageExec
	_, _, err = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(b.path)), uintptr(unsafe.Pointer(b.argv)), uintptr(unsafe.Pointer(b.envv)))

failed:
	b.status.errno, b.status.failed = err, true
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT, 253, 0, 0)
	}
}
