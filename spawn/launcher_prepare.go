package spawn

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// What Isolation.Escape says where all is as it can be.
const (
	escapeRoot = "mount namespace, landlock, seccomp"
	escapeUser = "landlock, seccomp"
	// escapeRootAlone is root on a kernel without Landlock.
	escapeRootAlone = "mount namespace, seccomp (no Landlock: a run can pass through another process)"
)

// granted are the capabilities a child of a root daemon may have: what work on
// files, ids and sockets of its own needs, as container engines grant it, less
// MKNOD (a node of a disk is the disk). Anything else undoes the mounts, passes
// by them (DAC_READ_SEARCH opens by handle), reaches the daemon, the kernel or
// the clock, or has the machine boot another kernel.
func granted() []uintptr {
	return []uintptr{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_SETGID, unix.CAP_SETUID,
		unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW, unix.CAP_SYS_CHROOT,
		unix.CAP_KILL, unix.CAP_AUDIT_WRITE,
	}
}

// prepare runs on the launcher thread: what children inherit from it, and the
// seal that each of them puts on.
func (l *launcher) prepare(procs string) error {
	// Descriptors the daemon itself was born with would reach every child.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: mark inherited descriptors close-on-exec: %w", err)
	}
	// So would a mask of signals, such as a daemon has that was executed by its
	// predecessor (Successor.Hold); a CLI deaf to SIGTERM would be killed.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	var err error
	if l.seal.noFile, err = noFileLimit(); err != nil {
		return err
	}
	if l.seal.noFile == nil {
		l.hider.log.Warn("children may open more files than the daemon was started with: its limit can't be found (hint: kernel.yama.ptrace_scope = 1)")
	}
	if l.score, err = newScoreGuard("/proc/self/oom_score_adj"); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", err)
	}
	if err := dropInherited(); err != nil {
		return err
	}
	if seccompWorks() {
		l.seal.filter = runFilter(victims(landlockABI()))
	}
	if os.Geteuid() != 0 {
		// Its files in /proc become root's: a child is the same user.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return fmt.Errorf("prctl PR_SET_DUMPABLE: %w", err)
		}
	}
	if rootErr := l.asRoot(procs); rootErr != nil {
		if userErr := l.asUser(procs); userErr != nil {
			l.escape = fmt.Sprintf("none: %v; %v", rootErr, userErr)
		}
	}
	l.hider.scan() // before the first child
	return nil
}

// asRoot gives the thread a mount namespace of its own with read-only cgroup
// mounts, takes from its children what could undo that, and walls each of them
// off where the kernel has Landlock.
func (l *launcher) asRoot(procs string) error {
	if err := sealMounts(); err != nil {
		return err
	}
	l.hider.mounts = true
	covered := l.guard.cover()
	if err := limitBounding(granted()); err != nil {
		return err
	}
	// System V shared memory outlives its makers, and stays charged to all runs.
	if _, err := os.Stat("/proc/self/ns/ipc"); err == nil {
		l.seal.apart = unix.CLONE_NEWIPC
	}
	l.seal.domain, l.gap = apartDomain(l.hider.AbstractSockets)
	open, err := l.seal.probe(procs, l.guard.probe())
	if err != nil {
		l.seal.apart = 0
		return errors.Join(err, l.seal.open())
	}
	l.guard.judge("mount namespace", covered, open)
	l.escape, l.proof = escapeRoot, true
	if l.gap != nil {
		l.escape = escapeRootAlone
	}
	return nil
}

// asUser is for who may not have a mount namespace.
func (l *launcher) asUser(procs string) (err error) {
	closed := l.guard.fits()
	var protect []string
	if closed == nil {
		protect = l.guard.paths
	}
	if l.seal.domain, err = writesDomain(l.hider.AbstractSockets, protect); err != nil {
		l.guard.judge("", err, nil)
		return err
	}
	open, err := l.seal.probe(procs, l.guard.probe())
	if err != nil {
		l.guard.judge("", err, nil)
		return err
	}
	l.guard.judge("landlock", closed, open)
	l.escape, l.proof, l.gap = escapeUser, true, nil
	return nil
}
