package spawn

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

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
		if !m.cgroupMount() {
			continue
		}
		found++
		if m.readOnly() {
			continue
		}
		flags := unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | m.kept()
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
func threadMounts() ([]mount, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMounts(f)
}
