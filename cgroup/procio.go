package cgroup

import (
	"errors"
	"os"

	"penstock/internal/procinfo"

	"golang.org/x/sys/unix"
)

// StorageIO sums what the group's live processes have read from and written to
// storage, in bytes (proc_pid_io(5)). It is for groups without the io controller,
// such as those of systemd's user manager, and dearer than reading io.stat. It
// falls when a process ends.
func (g *Group) StorageIO() (uint64, error) {
	pids, err := g.dir.Procs()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, pid := range pids {
		n, err := procinfo.Host.StorageBytes(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
