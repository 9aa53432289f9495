package cgroup

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A daemon that isn't root owns its groups' files, and so do its runs: they may
// take away the permissions that killing and removing needs. No Landlock rule
// covers chmod(2), but who owns a file can give them back: every refusal is
// mended once and asked again.

// DirMode is what the daemon needs on its groups and their files.
const DirMode = 0o755

// WithPerms calls f, and after a refusal mend and f again.
func WithPerms(f, mend func() error) error {
	err := f()
	if !errors.Is(err, unix.EACCES) || mend() != nil {
		return err
	}
	return f()
}

// restorePermsBelow gives back a directory that is held open and one name in it.
func restorePermsBelow(at int, name string) error {
	if err := unix.Fchmod(at, DirMode); err != nil {
		return err
	}
	return unix.Fchmodat(at, name, DirMode, 0)
}

// RestorePerms gives back a group and the two above it, of which none is above the root.
func RestorePerms(path string) error {
	above := filepath.Dir(path)
	return errors.Join(unix.Chmod(filepath.Dir(above), DirMode), unix.Chmod(above, DirMode), unix.Chmod(path, DirMode))
}

// restorePerms gives back the root and the group of all runs.
func (r *Root) restorePerms() error {
	return errors.Join(unix.Chmod(r.path, DirMode), unix.Chmod(r.runs.Path, DirMode))
}
