package spawn

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// What Isolation.Escape says of a daemon that is root.
const (
	escapeBoth          = "mount namespace, landlock"
	escapeNamespaceOnly = "mount namespace (no Landlock: root runs can pass through another user's process)"
)

// withheld are the capabilities no child of a root daemon gets: to undo the mounts
// (SYS_ADMIN), to reach or read the daemon through /proc (SYS_PTRACE; PERFMON
// suffices for environ and maps on newer kernels, CHECKPOINT_RESTORE for
// map_files), and to reach the kernel's own memory.
func withheld() []uintptr {
	return []uintptr{
		unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_PERFMON, unix.CAP_CHECKPOINT_RESTORE,
		unix.CAP_BPF, unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO,
	}
}

// prepare runs on the launcher thread. Root gets a mount namespace of its own
// with read-only cgroup mounts, and a Landlock domain where the kernel has it;
// who may not have the namespace gets a Landlock domain that holds the writes.
func (l *launcher) prepare(procs string) error {
	// Descriptors the daemon itself was born with would reach every child.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: mark inherited descriptors close-on-exec: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", err)
	}
	if err := dropInherited(); err != nil {
		return err
	}
	nsErr := sealMounts()
	if nsErr == nil {
		nsErr = dropBounding(withheld()...)
	}
	if nsErr == nil {
		nsErr = sealed(procs)
	}
	if nsErr == nil {
		l.escape, l.proof = escapeBoth, true
		if l.gap = sealProcesses(); l.gap != nil {
			l.escape = escapeNamespaceOnly
		}
		return nil
	}
	llErr := sealLandlock()
	if llErr == nil {
		llErr = sealed(procs)
	}
	if llErr == nil {
		l.escape, l.proof = "landlock", true
		return nil
	}
	l.escape = fmt.Sprintf("none: %v; %v", nsErr, llErr)
	return nil
}

// sealed proves on the calling thread that a cgroup.procs file can't be opened
// for writing. Opening it writes nothing.
func sealed(procs string) error {
	fd, err := unix.Open(procs, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: procs, Err: err}
	}
	if err := unix.Close(fd); err != nil {
		return &os.PathError{Op: "close", Path: procs, Err: err}
	}
	return fmt.Errorf("open %s: still writable from the launcher thread", procs)
}
