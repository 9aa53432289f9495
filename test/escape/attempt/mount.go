package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountWays undo or go around read-only or hidden mounts.
func mountWays() map[string]func(*attempt) error {
	return map[string]func(*attempt) error{
		"remount read-write":             private(remount),
		"unmount what covers the groups": private(uncover),
		"bind the groups elsewhere":      private(rebind),
		"open_tree and mount_setattr":    private(cloneTree),
		"mount a fresh cgroup2":          private(fresh),
		"fsopen a fresh cgroup2":         private(fsopen),
	}
}

// private leaves the mounts of everybody else alone where it may. The control
// has a read-only cover of its own, made as the launcher makes it.
func private(way func(*attempt) error) func(*attempt) error {
	return func(a *attempt) error {
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if a.Control {
			if err == nil {
				err = cover(a.Mount)
			}
			if err != nil {
				return err
			}
		}
		return way(a)
	}
}

// cover lays a read-only view of a mount over it.
func cover(point string) error {
	if err := unix.Mount(point, point, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cover %s: %w", point, err)
	}
	return unix.Mount("", point, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

func remount(a *attempt) error {
	err := first(
		func() error { return unix.Mount("", a.Mount, "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		func() error { return unix.Mount("none", a.Mount, "cgroup2", unix.MS_REMOUNT, a.Options) })
	return errors.Join(err, a.anyGroup(""))
}

func uncover(a *attempt) error {
	err := first(
		func() error { return unix.Unmount(a.Mount, 0) },
		func() error { return unix.Unmount(a.Mount, unix.MNT_DETACH) })
	if err != nil {
		return fmt.Errorf("umount %s: %w", a.Mount, err)
	}
	return a.anyGroup("")
}

// point is a directory to mount on.
func (a *attempt) point() (string, error) {
	dir := a.scratch("mnt")
	return dir, os.MkdirAll(dir, 0o755)
}

func rebind(a *attempt) error {
	dir, err := a.point()
	if err != nil {
		return err
	}
	if err := unix.Mount(a.Mount, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", a.Mount, err)
	}
	_ = unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, "") // it may be writable as it is
	return a.anyGroup(dir)
}

func cloneTree(a *attempt) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, a.Mount, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return a.anyGroup(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// fresh keeps the options: they are the one file system's, not the mount's, and
// the control must not take "nsdelegate" from everybody.
func fresh(a *attempt) error {
	dir, err := a.point()
	if err != nil {
		return err
	}
	if err := unix.Mount("none", dir, "cgroup2", 0, a.Options); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	return a.anyGroup(dir)
}

func fsopen(a *attempt) error {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	for _, option := range strings.Split(a.Options, ",") {
		if err := unix.FsconfigSetFlag(fs, option); err != nil && option != "" {
			return fmt.Errorf("fsconfig %s: %w", option, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("fsconfig: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("fsmount: %w", err)
	}
	defer unix.Close(fd)
	return a.anyGroup(fmt.Sprintf("/proc/self/fd/%d", fd))
}
