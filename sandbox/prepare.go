package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

// What Isolation.Escape says where all is as it can be.
const (
	EscapeRoot = "mount namespace, landlock, seccomp"
	EscapeUser = "landlock, seccomp"
	// escapeRootAlone is root on a kernel without Landlock.
	EscapeRootAlone = "mount namespace, seccomp (no Landlock: a run can pass through another process)"
)

// prepare runs on the launcher thread: what children inherit from it, and the
// sandbox that each of them puts on.
func (l *Launcher) prepare(procs string) error {
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
	if l.restrictions.noFile, err = noFileLimit(); err != nil {
		return err
	}
	if l.restrictions.noFile == nil {
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
		if err := putOnThread(bornWith()); err != nil {
			return err
		}
		if !l.mounting {
			l.restrictions.filter = putOn(protectedPIDs(LandlockABI()))
		}
	}
	if os.Geteuid() != 0 {
		// Its files in /proc become root's: a child is the same user.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return fmt.Errorf("prctl PR_SET_DUMPABLE: %w", err)
		}
	}
	if l.mounting {
		err := l.asMounting()
		l.masker.scan()
		return err
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
func (l *Launcher) asRoot(procs string) error {
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
		l.restrictions.namespaces = unix.CLONE_NEWIPC
	}
	l.restrictions.domain, l.gap = scopeDomain(l.masker.AbstractSockets)
	open, err := l.restrictions.probe(procs, l.protection.probeFile())
	if err != nil {
		l.restrictions.namespaces = 0
		return errors.Join(err, l.restrictions.close())
	}
	l.protection.conclude("mount namespace", covered, open)
	l.escape, l.works = EscapeRoot, true
	if l.gap != nil {
		l.escape = EscapeRootAlone
	}
	return nil
}

// asMounting is asRoot for what mounts, and nothing for a daemon that may not: its bubblewrap
// makes a user namespace, which a Landlock domain would not let it mount in.
func (l *Launcher) asMounting() error {
	if !CanMount() {
		l.protection.conclude("", errors.New("not root"), nil)
		return nil
	}
	if err := readonlyCgroups(); err != nil {
		return err
	}
	l.masker.mounts = true
	// Nothing of it gets into an image, and bubblewrap reads all mounts once for each that it makes.
	_ = unix.Unmount("/sys", unix.MNT_DETACH) // it may be no mount of its own
	l.protection.conclude("mount namespace", l.protection.mask(), nil)
	// The loopback interface of a network of its own is to be set up.
	return limitBoundingSet(append(allowedCaps(), unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN))
}

// asUser is for a daemon that may not have a mount namespace.
func (l *Launcher) asUser(procs string) (err error) {
	closed := l.protection.landlockFits()
	var protect []string
	if closed == nil {
		protect = l.protection.paths
	}
	if l.restrictions.domain, err = writeDomain(l.masker.AbstractSockets, protect); err != nil {
		l.protection.conclude("", err, nil)
		return err
	}
	open, err := l.restrictions.probe(procs, l.protection.probeFile())
	if err != nil {
		l.protection.conclude("", err, nil)
		return err
	}
	l.protection.conclude("landlock", closed, open)
	l.escape, l.works, l.gap = EscapeUser, true, nil
	return nil
}

// readonlyCgroups gives the calling thread a mount namespace of its own in which
// every cgroup mount is read-only. Needs CAP_SYS_ADMIN. Mounts the host makes
// later still appear in it (slave), its own never leave it.
func readonlyCgroups() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount /: make slave: %w", err)
	}
	mounts, err := threadMounts()
	if err != nil {
		return err
	}
	var found int
	for _, m := range mounts {
		if !isCgroup(m) {
			continue
		}
		found++
		if m.Has("ro") {
			continue
		}
		flags := unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | bindFlags(m)
		if err := unix.Mount("", m.Point, "", flags, ""); err != nil {
			return fmt.Errorf("mount %s: remount read-only: %w", m.Point, err)
		}
	}
	if found == 0 {
		return errors.New("mountinfo: no cgroup mount found")
	}
	return nil
}

// threadMounts lists the mounts as the calling thread sees them.
func threadMounts() ([]procinfo.Mount, error) { return procinfo.Host.OwnThreadMounts() }

// isCgroup tells whether a mount shows cgroups of either version.
func isCgroup(m procinfo.Mount) bool { return m.FSType == "cgroup" || m.FSType == "cgroup2" }

// bindFlags are the flags a bind remount must repeat, because it clears what it
// isn't told; the kernel keeps the atime flags by itself.
func bindFlags(m procinfo.Mount) uintptr {
	var flags uintptr
	for o := range m.Options {
		switch o {
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "nosymfollow":
			flags |= unix.MS_NOSYMFOLLOW
		}
	}
	return flags
}

// noFileLimit finds the limit of open files the daemon was started with. The
// Go runtime raises its own and gives children the old one back, but doesn't
// tell it: so a child is asked, stopped before its first instruction. To be
// called on a locked thread, which traces it. Nil where the host lets no process be
// traced (kernel.yama.ptrace_scope of 2 or 3): children then have the raised one.
func noFileLimit() (*syscall.Rlimit, error) {
	const self = "/proc/self/exe"
	p, err := os.StartProcess(self, []string{self}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{Ptrace: true}})
	if errors.Is(err, unix.EPERM) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("limit of open files: %w", err)
	}
	var l unix.Rlimit
	err = unix.Prlimit(p.Pid, unix.RLIMIT_NOFILE, nil, &l)
	_, waitErr := func() (*os.ProcessState, error) {
		if err := p.Kill(); err != nil {
			return nil, err
		}
		return p.Wait()
	}()
	if err := errors.Join(err, waitErr); err != nil {
		return nil, fmt.Errorf("limit of open files: %w", err)
	}
	return &syscall.Rlimit{Cur: l.Cur, Max: l.Max}, nil
}
