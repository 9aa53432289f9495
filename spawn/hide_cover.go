package spawn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hiddenSource is what mountinfo calls a directory that hides another.
const hiddenSource = "penstock-hidden"

// target is a path as it is now, held open: nobody can put something else in
// its place before it is mounted on.
type target struct {
	fd   int
	path string
	stat unix.Statx_t
}

func openTarget(path string) (*target, error) {
	fd, err := openNoLinks(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	t := &target{fd: fd, path: path}
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &t.stat)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "statx", Path: path, Err: err}, unix.Close(fd))
	}
	return t, nil
}

// openNoLinks follows no symbolic link, whichever component it is. openat2(2)
// could do it in one call, but filters that can't look into its struct answer
// ENOSYS (RestrictSUIDSGID= of systemd, older container engines).
func openNoLinks(path string) (int, error) {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, err := unix.Open("/", flags|unix.O_DIRECTORY, 0)
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

// isNull tells whether it is /dev/null, which covers everything but directories.
func (t *target) isNull() bool {
	return t.stat.Mode&unix.S_IFMT == unix.S_IFCHR && t.stat.Rdev_major == 1 && t.stat.Rdev_minor == 3
}

// isNull is the same of a path.
func isNull(path string) bool {
	t, err := openTarget(path)
	if err != nil {
		return false
	}
	defer t.close()
	return t.isNull()
}

// mount is the line of mountinfo it lies in.
func (t *target) mount(mounts []mount) (mount, bool) {
	i := slices.IndexFunc(mounts, func(m mount) bool { return m.ID == t.stat.Mnt_id })
	if i < 0 {
		return mount{}, false
	}
	return mounts[i], true
}

// coverPath hides one path, unless it is hidden already or gone by now.
func coverPath(path string, mounts []mount) error {
	t, err := openTarget(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer t.close()
	if at, ok := t.mount(mounts); ok && at.Source == hiddenSource || t.isNull() {
		return nil
	}
	if !t.isDir() {
		if err := unix.Mount(os.DevNull, t.proc(), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /dev/null on %s: %w", path, err)
		}
		return nil
	}
	flags, data := uintptr(unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY), "mode=0555,size=4k,nr_inodes=2"
	if info, err := os.Lstat(path); err == nil && ownable(path, info) {
		flags &^= unix.MS_RDONLY
		data = fmt.Sprintf("mode=%#o,uid=%d,gid=%d,size=1m,nr_inodes=1k", t.stat.Mode&0o7777, t.stat.Uid, t.stat.Gid)
	}
	if err := unix.Mount(hiddenSource, t.proc(), "tmpfs", flags, data); err != nil {
		return fmt.Errorf("mount an empty directory on %s: %w", path, err)
	}
	return nil
}

// coverWrites makes one path and all below it read-only. What the host mounts
// there later does not appear: it would be writable.
func coverWrites(path string, mounts []mount) error {
	t, err := openTarget(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer t.close()
	top := t
	if !t.mountRoot() {
		if err := unix.Mount(t.proc(), t.proc(), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s on itself: %w", path, err)
		}
		if top, err = openTarget(path); err != nil {
			return err
		}
		defer top.close()
	} else if at, ok := t.mount(mounts); ok && at.readOnly() && at.Private {
		return nil
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(top.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("mount %s: make read-only: %w", path, err)
	}
	return nil
}

// ownDirectories makes the directory in which tmux of each user that children
// may be would put its sockets. A directory that appears while the daemon runs
// is somebody else's and gets hidden; these must not be, or a child would lose
// what it has just made.
func (h *hider) ownDirectories() {
	for _, uid := range append([]int{os.Geteuid()}, h.Users...) {
		path := "/tmp/tmux-" + strconv.Itoa(uid)
		named := func(pattern string) bool { ok, err := filepath.Match(pattern, path); return ok && err == nil }
		if !slices.ContainsFunc(h.Paths, named) {
			continue
		}
		err := os.Mkdir(path, 0o700)
		if err == nil {
			err = os.Lchown(path, uid, -1)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			h.log.Warn("directory for sockets not made", "path", path, "err", err)
		}
	}
}
