package cgroup

import (
	"errors"

	"penstock/cgroup/cgroupfs"

	"golang.org/x/sys/unix"
)

// A daemon that isn't root owns its groups' files, and so do its runs: they may
// take away the permissions that killing and removing needs. No Landlock rule
// covers chmod(2), but who owns a file can give them back: every refusal is
// mended once and asked again.

// restorePerms gives back the root and the group of all runs.
func (t *Tree) restorePerms() error {
	return errors.Join(unix.Chmod(t.Path(), cgroupfs.DirMode), unix.Chmod(t.runs.Path, cgroupfs.DirMode))
}
