package cgroupfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// DaemonLeaf is the group the daemon itself lives in; the shipped unit names it
// in DelegateSubgroup=, so systemd and we must agree on it.
const DaemonLeaf = "daemon"

// RunsDir is the group that holds all runs and carries the budget.
const RunsDir = "runs"

// MakeLeaf makes the group the daemon moves into. It is never one that was
// there before: a process in a group that once saw cgroup.kill can't have
// children in another group on kernels with the kill_seq fault.
func MakeLeaf(path string) error {
	err := unix.Mkdir(path, 0o755)
	if !errors.Is(err, unix.EEXIST) {
		return WrapPath("mkdir", path, err)
	}
	if err := ClearLeaf(path); err != nil {
		return err
	}
	return WrapPath("mkdir", path, unix.Mkdir(path, 0o755))
}

// ClearLeaf removes what a daemon before us left, and only that.
func ClearLeaf(path string) error {
	if err := CheckLeafFree(path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), RemoveTimeout)
	defer cancel()
	return RemoveTree(ctx, path)
}

// CheckLeafFree refuses a leaf that another daemon lives in; none there is none.
func CheckLeafFree(leaf string) error {
	pids, err := ProcsAt(leaf)
	if IsVanished(err) {
		return nil
	}
	if err != nil {
		return WithRemedy(err, "run as the user that made it")
	}
	if len(pids) > 0 {
		return Refuse("stop it, or set another state directory", "%s: %w: another daemon holds it: pids %v", leaf, ErrBusy, pids)
	}
	return nil
}

// MoveSelf puts this whole process into the group at path.
func MoveSelf(path string) error {
	f, err := os.OpenFile(path+"/cgroup.procs", os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("0")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write %s/cgroup.procs: move the daemon: %w", path, UnwrapPath(err))
	}
	return nil
}
