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

// ourMode is what the daemon needs on its groups and their files.
const ourMode = 0o755

// mended calls f, and after a refusal mend and f again.
func mended(f, mend func() error) error {
	err := f()
	if !errors.Is(err, unix.EACCES) || mend() != nil {
		return err
	}
	return f()
}

// mendBelow gives back a directory that is held open and one name in it.
func mendBelow(at int, name string) error {
	if err := unix.Fchmod(at, ourMode); err != nil {
		return err
	}
	return unix.Fchmodat(at, name, ourMode, 0)
}

// mendPath gives back a group and the two above it, of which none is above the root.
func mendPath(path string) error {
	above := filepath.Dir(path)
	return errors.Join(unix.Chmod(filepath.Dir(above), ourMode), unix.Chmod(above, ourMode), unix.Chmod(path, ourMode))
}

// mend gives back the root and the group of all runs.
func (r *Root) mend() error {
	return errors.Join(unix.Chmod(r.path, ourMode), unix.Chmod(r.runs.path, ourMode))
}
