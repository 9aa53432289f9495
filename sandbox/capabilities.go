package sandbox

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
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

// dropInheritedCaps empties the thread's ambient and inheritable sets, so that a
// capability given to the daemon (AmbientCapabilities= of its unit) stays its own.
func dropInheritedCaps() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_CAP_AMBIENT_CLEAR_ALL: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capset: empty the inheritable set: %w", err)
	}
	return nil
}

// limitBoundingSet takes every capability but those kept from everything the
// thread will ever start. The first number the kernel doesn't know is the end.
func limitBoundingSet(kept []uintptr) error {
	for c := uintptr(0); c < 64; c++ {
		if slices.Contains(kept, c) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL {
			return nil
		}
		if err != nil {
			return fmt.Errorf("prctl PR_CAPBSET_DROP: capability %d: %w", c, err)
		}
	}
	return nil
}
