package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// freshLeaf makes the group the daemon moves into. It is never one that was
// there before: a process in a group that once saw cgroup.kill can't have
// children in another group on kernels with the kill_seq fault.
func freshLeaf(path string) error {
	err := unix.Mkdir(path, 0o755)
	if !errors.Is(err, unix.EEXIST) {
		return wrapPath("mkdir", path, err)
	}
	if err := clearLeaf(path); err != nil {
		return err
	}
	return wrapPath("mkdir", path, unix.Mkdir(path, 0o755))
}

// clearLeaf removes what a daemon before us left, and only that.
func clearLeaf(path string) error {
	if err := holderOf(path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeBound)
	defer cancel()
	return removeTree(ctx, path)
}

// holderOf refuses a leaf that another daemon lives in; none there is none.
func holderOf(leaf string) error {
	pids, err := procsAt(leaf)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return asClosed(err, "run as the user that made it")
	}
	if len(pids) > 0 {
		return closed("stop it, or set another state directory", "%s: %w: another daemon holds it: pids %v", leaf, ErrBusy, pids)
	}
	return nil
}

// moveSelf puts this whole process into the group at path.
func moveSelf(path string) error {
	f, err := os.OpenFile(path+"/cgroup.procs", os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("0")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("write %s/cgroup.procs: move the daemon: %w", path, unwrapPath(err))
	}
	return nil
}

// wrapPath is os.PathError without a typed nil.
func wrapPath(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
