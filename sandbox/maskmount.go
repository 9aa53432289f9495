package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

// maskSource is what mountinfo calls a directory that masks another.
const maskSource = "penstock-hidden"

// target is a path as it is now, held open: no process can put something else in
// its place before it is mounted on.
type target struct {
	fd      int
	path    string
	stat    unix.Statx_t
	ownable bool // a directory that children are to have as their own
}

func openTarget(root int, path string) (*target, error) {
	fd, err := openNoLinks(root, path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	t := &target{fd: fd, path: path}
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &t.stat)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "statx", Path: path, Err: err}, unix.Close(fd))
	}
	if t.isDir() {
		info, err := os.Lstat(path)
		t.ownable = err == nil && ownable(path, info)
	}
	return t, nil
}

// openNoLinks opens a path below root (AT_FDCWD is this thread's own) and follows
// no symbolic link, whichever component it is. openat2(2) could do it in one call,
// but filters that can't look into its struct answer ENOSYS (RestrictSUIDSGID= of
// systemd, older container engines).
func openNoLinks(root int, path string) (int, error) {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	top := "."
	if root == unix.AT_FDCWD {
		top = "/"
	}
	at, err := unix.Openat(root, top, flags|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	for i, name := range names {
		more := 0
		if i < len(names)-1 {
			more = unix.O_DIRECTORY // of a link: ENOTDIR
		}
		next, err := unix.Openat(at, name, flags|more, 0)
		_ = unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

func (t *target) close() { _ = unix.Close(t.fd) } // an O_PATH descriptor has nothing to lose

// proc names what is held open, for calls that take a path.
func (t *target) proc() string { return "/proc/thread-self/fd/" + strconv.Itoa(t.fd) }

func (t *target) isDir() bool { return t.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// mountRoot tells whether something is mounted right there.
func (t *target) mountRoot() bool { return t.stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 }

// isNull tells whether it is /dev/null, which masks everything but directories.
func (t *target) isNull() bool {
	return t.stat.Mode&unix.S_IFMT == unix.S_IFCHR && t.stat.Rdev_major == 1 && t.stat.Rdev_minor == 3
}

// isNull is the same of a path.
func isNull(root int, path string) bool {
	t, err := openTarget(root, path)
	if err != nil {
		return false
	}
	defer t.close()
	return t.isNull()
}

// mount is the line of mountinfo it lies in.
func (t *target) mount(mounts mountTable) (procinfo.Mount, bool) {
	m, ok := mounts.byID[t.stat.Mnt_id]
	return m, ok
}

// isMasked tells whether mask has been mounted on it.
func (t *target) isMasked(mounts mountTable) bool {
	at, ok := t.mount(mounts)
	return t.isNull() || ok && at.Source == maskSource
}

// isMaskedReadonly tells whether maskReadonly has made it so.
func (t *target) isMaskedReadonly(mounts mountTable) bool {
	at, ok := t.mount(mounts)
	return ok && t.mountRoot() && at.Has("ro") && at.Private
}

// maskPath masks one path for the calling thread's children, unless it is
// masked already or gone by now.
func maskPath(path string, mounts mountTable) error {
	t, err := openTarget(unix.AT_FDCWD, path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer t.close()
	if t.isMasked(mounts) {
		return nil
	}
	return t.mask()
}

// mask mounts an empty file or directory on it, for the calling thread's children.
func (t *target) mask() error {
	if !t.isDir() {
		if err := unix.Mount(os.DevNull, t.proc(), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /dev/null on %s: %w", t.path, err)
		}
		return nil
	}
	flags, data := uintptr(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY), "mode=0555,size=4k,nr_inodes=2"
	if t.ownable {
		flags &^= unix.MS_RDONLY
		data = fmt.Sprintf("mode=%#o,uid=%d,gid=%d,size=1m,nr_inodes=1k", t.stat.Mode&0o7777, t.stat.Uid, t.stat.Gid)
	}
	if err := unix.Mount(maskSource, t.proc(), "tmpfs", flags, data); err != nil {
		return fmt.Errorf("mount an empty directory on %s: %w", t.path, err)
	}
	return nil
}

// maskReadonly makes it and all below it read-only, for the calling thread's
// children. What the host mounts there later does not appear: it would be writable.
// No path is looked up: the file system may have stopped answering by now.
func (t *target) maskReadonly() error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE}
	if t.mountRoot() {
		if err := unix.MountSetattr(t.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return fmt.Errorf("mount %s: make read-only: %w", t.path, err)
		}
		return nil
	}
	tree, err := unix.OpenTree(t.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("open_tree %s: %w", t.path, err)
	}
	defer unix.Close(tree)
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("mount %s: make read-only: %w", t.path, err)
	}
	if err := unix.MoveMount(tree, "", t.fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s on itself: %w", t.path, err)
	}
	return nil
}
