package cgroupfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Kill ends every process of the group and of all groups below it through
// cgroup.kill (5.14). It also reaches frozen, stopped and traced processes and
// wins against forks. A group that is gone already is no error.
func (d *Dir) Kill() error {
	if d.killFD != nil {
		if _, err := d.killFD.WriteAt([]byte("1"), 0); err == nil {
			return nil
		}
	}
	err := d.Write("cgroup.kill", "1")
	if err != nil && d.isGone() {
		return nil
	}
	return err
}

// OpenKill opens cgroup.kill for kill, before a run that owns it, too, can take
// its permissions away: one that does so without a pause would win every time.
// Where it fails, kill opens it by its name.
func (d *Dir) OpenKill() {
	if fd, err := d.openat("cgroup.kill", unix.O_WRONLY); err == nil {
		d.killFD = os.NewFile(uintptr(fd), d.Path+"/cgroup.kill")
	}
}

// isGone says whether the directory was removed while we hold it open.
func (d *Dir) isGone() bool {
	_, err := d.Read("cgroup.events")
	return IsVanished(err) || errors.Is(err, os.ErrClosed)
}

// CheckKill refuses kernels that can't kill a whole group at once.
func CheckKill(d *Dir) error {
	if !d.Has("cgroup.kill") {
		return fmt.Errorf("%s/cgroup.kill: missing: the kernel is older than 5.14; run a newer one", d.Path)
	}
	return nil
}
