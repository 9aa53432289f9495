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

// allowedCaps are the capabilities a child of a root daemon may have: what work on
// files, ids and sockets of its own needs, as container engines grant it, less
// MKNOD (a node of a disk is the disk). Anything else undoes the mounts, passes
// by them (DAC_READ_SEARCH opens by handle), reaches the daemon, the kernel or
// the clock, or has the machine boot another kernel.
func allowedCaps() []uintptr {
	return []uintptr{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_SETGID, unix.CAP_SETUID,
		unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW, unix.CAP_SYS_CHROOT,
		unix.CAP_KILL, unix.CAP_AUDIT_WRITE,
	}
}

// prepare runs on the launcher thread: what children inherit from it, and the
// sandbox that each of them puts on.
func (l *launcher) prepare(procs string) error {
	// Descriptors the daemon itself was started with would reach every child.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: mark inherited descriptors close-on-exec: %w", err)
	}
	// So would a mask of signals, such as a daemon has that was executed by its
	// predecessor (Reexec.BlockSignals); a CLI deaf to SIGTERM would be killed.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	var err error
	if l.sandbox.noFile, err = noFileLimit(); err != nil {
		return err
	}
	if l.sandbox.noFile == nil {
		l.masker.log.Warn("children may open more files than the daemon was started with: its limit can't be found (hint: kernel.yama.ptrace_scope = 1)")
	}
	if l.oomScore, err = newOOMScoreKeeper("/proc/self/oom_score_adj"); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", err)
	}
	if err := dropInheritedCaps(); err != nil {
		return err
	}
	if seccompWorks() {
		l.sandbox.filter = runFilter(protectedPIDs(landlockABI()))
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
	l.masker.scan() // before the first child
	return nil
}

// asRoot gives the thread a mount namespace of its own with read-only cgroup
// mounts, takes from its children what could undo that, and shuts each of them
// off where the kernel has Landlock.
func (l *launcher) asRoot(procs string) error {
	if err := readonlyCgroups(); err != nil {
		return err
	}
	l.masker.mounts = true
	covered := l.protection.mask()
	if err := limitBoundingSet(allowedCaps()); err != nil {
		return err
	}
	// System V shared memory outlives its makers, and stays charged to all runs.
	if _, err := os.Stat("/proc/self/ns/ipc"); err == nil {
		l.sandbox.namespaces = unix.CLONE_NEWIPC
	}
	l.sandbox.domain, l.gap = scopeDomain(l.masker.AbstractSockets)
	open, err := l.sandbox.probe(procs, l.protection.probeFile())
	if err != nil {
		l.sandbox.namespaces = 0
		return errors.Join(err, l.sandbox.open())
	}
	l.protection.conclude("mount namespace", covered, open)
	l.escape, l.works = escapeRoot, true
	if l.gap != nil {
		l.escape = escapeRootAlone
	}
	return nil
}

// asUser is for a daemon that may not have a mount namespace.
func (l *launcher) asUser(procs string) (err error) {
	closed := l.protection.landlockFits()
	var protect []string
	if closed == nil {
		protect = l.protection.paths
	}
	if l.sandbox.domain, err = writeDomain(l.masker.AbstractSockets, protect); err != nil {
		l.protection.conclude("", err, nil)
		return err
	}
	open, err := l.sandbox.probe(procs, l.protection.probeFile())
	if err != nil {
		l.protection.conclude("", err, nil)
		return err
	}
	l.protection.conclude("landlock", closed, open)
	l.escape, l.works, l.gap = escapeUser, true, nil
	return nil
}
