package pid1

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// devices are those of /dev, which bubblewrap binds.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

// hide covers paths of the run's own /proc, before the sandbox: bubblewrap leaves
// /proc/sys writable for user 0, also for one without capabilities. It leaves the host's
// devices so, too: their modes and owners, that is, for read-only ones can be written.
func hide(j *Job) error {
	for _, path := range devices {
		if err := setReadonly(path); err != nil {
			return err
		}
	}
	for _, path := range j.ReadonlyPaths {
		if err := readonly(path); err != nil {
			return err
		}
	}
	for _, path := range j.MaskedPaths {
		if err := mask(path); err != nil {
			return err
		}
	}
	return nil
}

// readonly binds a path over itself. What this kernel doesn't have needs no cover.
func readonly(path string) error {
	err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "bind", Path: path, Err: err}
	}
	return setReadonly(path)
}

// setReadonly is for a mount and those below it.
func setReadonly(path string) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW, attr); err != nil {
		return &os.PathError{Op: "mount read-only", Path: path, Err: err}
	}
	return nil
}

// mask puts /dev/null over a file, and an empty directory over a directory.
func mask(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("mask: %w", err)
	case info.IsDir():
		err = unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,nr_inodes=1,mode=555")
	default:
		err = unix.Mount(os.DevNull, path, "", unix.MS_BIND, "")
	}
	if err != nil {
		return &os.PathError{Op: "mask", Path: path, Err: err}
	}
	return nil
}
