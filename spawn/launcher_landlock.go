package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Write rights of Landlock by the ABI that brought them (Linux
// Documentation/userspace-api/landlock.rst).
const (
	landlockFileWrites = unix.LANDLOCK_ACCESS_FS_WRITE_FILE

	landlockWrites = landlockFileWrites |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
)

// sealLandlock puts the calling thread into a Landlock domain that may write
// everywhere but below the cgroup mounts. Needs no privilege beyond
// no_new_privs. The price: mount(2) is refused inside such a domain, so a CLI
// that brings a bubblewrap sandbox can't start it.
func sealLandlock() error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("landlock: not in this kernel: %w", errno)
	}
	// Below ABI 2 a domain forbids every rename between directories.
	if abi < 2 {
		return fmt.Errorf("landlock: ABI %d: 2 or newer is needed (Linux 5.19)", abi)
	}
	mounts, err := threadMounts()
	if err != nil {
		return err
	}
	var points []string
	for _, m := range mounts {
		if m.cgroupMount() {
			points = append(points, m.Point)
		}
	}
	if len(points) == 0 {
		return fmt.Errorf("landlock: no cgroup mount in mountinfo")
	}
	rules, err := newRuleset(int(abi))
	if err != nil {
		return err
	}
	defer unix.Close(rules.fd)
	if err := rules.allowAround("/", points); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules.fd), 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}

// ruleset is a Landlock rule set under construction.
type ruleset struct {
	fd          int
	dirs, files uint64 // rights granted below directories, on single files
}

func newRuleset(abi int) (*ruleset, error) {
	r := &ruleset{dirs: landlockWrites, files: landlockFileWrites}
	if abi >= 3 {
		r.dirs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
		r.files |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	// Only the first member is passed: older kernels don't know the others.
	attr := unix.LandlockRulesetAttr{Handled_access_fs: r.dirs}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return nil, fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	r.fd = int(fd)
	return r, nil
}

// allowAround grants writing below every entry of dir except the points, whose
// parents it descends into. What is made later beside such a parent's entries
// (a new directory in /) is not granted.
func (r *ruleset) allowAround(dir string, points []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Type()&os.ModeSymlink != 0: // its target is granted where it lives
		case within(points, path):
		case e.IsDir() && above(points, path):
			if err := r.allowAround(path, points); err != nil {
				return err
			}
		default:
			if err := r.allow(path, e.IsDir()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *ruleset) allow(path string, dir bool) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || err == unix.EACCES {
		return nil // gone, or out of reach anyway
	}
	if err != nil {
		return &os.PathError{Op: "landlock: open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	rights := r.files
	if dir {
		rights = r.dirs
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd),
		unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0); errno != 0 {
		return &os.PathError{Op: "landlock_add_rule", Path: path, Err: errno}
	}
	return nil
}

// within tells whether path is one of the points or lies below one.
func within(points []string, path string) bool {
	for _, p := range points {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// above tells whether one of the points lies below path.
func above(points []string, path string) bool {
	for _, p := range points {
		if strings.HasPrefix(p, path+"/") {
			return true
		}
	}
	return false
}
