package cgroup

import (
	"errors"
	"fmt"
	"os"
)

// kill ends every process of the group and of all groups below it through
// cgroup.kill (5.14). It also reaches frozen, stopped and traced processes and
// wins against forks. A group that is gone already is no error.
func (d *dir) kill() error {
	err := d.write("cgroup.kill", "1")
	if err != nil && d.gone() {
		return nil
	}
	return err
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
