package cgroup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kill ends every process of the group and of all groups below it through
// cgroup.kill (5.14). It also reaches frozen, stopped and traced processes and
// wins against forks. A group that is gone already is no error.
func (d *dir) kill() error {
	if d.killer != nil {
		if _, err := d.killer.WriteAt([]byte("1"), 0); err == nil {
			return nil
		}
	}
	err := d.write("cgroup.kill", "1")
	if err != nil && d.gone() {
		return nil
	}
	return err
}

// keepKill opens cgroup.kill for kill, before a run that owns it, too, can take
// its permissions away: one that does so without a pause would win every time.
// Where it fails, kill opens it by its name.
func (d *dir) keepKill() {
	if fd, err := d.openat("cgroup.kill", unix.O_WRONLY); err == nil {
		d.killer = os.NewFile(uintptr(fd), d.path+"/cgroup.kill")
	}
}

// gone says whether the directory was removed while we hold it open.
func (d *dir) gone() bool {
	_, err := d.read("cgroup.events")
	return vanished(err) || errors.Is(err, os.ErrClosed)
}

// checkKill refuses kernels that can't kill a whole group at once.
func checkKill(d *dir) error {
	if !d.has("cgroup.kill") {
		return fmt.Errorf("%s/cgroup.kill: missing: the kernel is older than 5.14; run a newer one", d.path)
	}
	return nil
}
