package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
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

// LandlockABI is what the kernel speaks; 0 where it has no Landlock or has it
// switched off.
func LandlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// ScopeABI is the first ABI with scopes (Linux 6.12).
const ScopeABI = 6

// scopes are what a domain closes beside files: signals to processes outside,
// and, unless they are to stay open, abstract sockets made outside.
func scopes(abi int, abstract bool) uint64 {
	switch {
	case abi < ScopeABI:
		return 0
	case abstract:
		return unix.LANDLOCK_SCOPE_SIGNAL
	}
	return unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
}

// scopeDomain makes a rule set whose domain is there for its scope alone:
// ptrace_may_access refuses every process outside, so that the root, cwd,
// descriptors, environment and memory in /proc of the daemon, of other runs and
// of the host stay closed to a child. A domain that handles file access would
// forbid mount(2) and with it every CLI's own sandbox, so it is one of scopes
// where the kernel has these.
func scopeDomain(abstract bool) (fd int, err error) {
	if LandlockABI() < ScopeABI {
		return writeDomain(abstract, nil)
	}
	return createRuleset(unix.LandlockRulesetAttr{Scoped: scopes(ScopeABI, abstract)})
}

// writeDomain makes a rule set that also allows writing everywhere but below
// the cgroup mounts and the paths to protect, which are to fit (protection.landlockFits). It
// needs no privilege. The price: mount(2) is refused inside such a domain, so a
// CLI that brings a bubblewrap sandbox can't start it.
func writeDomain(abstract bool, protect []string) (fd int, err error) {
	abi := LandlockABI()
	switch {
	case abi == 0:
		return -1, errors.New("landlock: not in this kernel, or switched off")
	case abi < 2: // there a domain forbids every rename between directories
		return -1, fmt.Errorf("landlock: ABI %d: 2 or newer is needed (Linux 5.19)", abi)
	}
	mounts, err := threadMounts()
	if err != nil {
		return -1, err
	}
	var points []string
	for _, m := range mounts {
		if isCgroup(m) {
			points = append(points, m.Point)
		}
	}
	if len(points) == 0 {
		return -1, errors.New("landlock: no cgroup mount in mountinfo")
	}
	for _, path := range protect {
		points = append(append(points, path), aliases(unix.AT_FDCWD, path, newMountTable(mounts))...)
	}
	rules, err := newRuleset(abi, scopes(abi, abstract))
	if err != nil {
		return -1, err
	}
	if err := rules.allowAround("/", points); err != nil {
		return -1, errors.Join(err, unix.Close(rules.fd))
	}
	return rules.fd, nil
}

// ruleset is a Landlock rule set under construction.
type ruleset struct {
	fd          int
	dirs, files uint64 // rights granted below directories, on single files
}

func newRuleset(abi int, scoped uint64) (r *ruleset, err error) {
	r = &ruleset{dirs: landlockWrites, files: landlockFileWrites}
	if abi >= 3 {
		r.dirs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
		r.files |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	r.fd, err = createRuleset(unix.LandlockRulesetAttr{Handled_access_fs: r.dirs, Scoped: scoped})
	return r, err
}

// createRuleset passes no more members than are asked for: older kernels don't
// know the others. The descriptor is close-on-exec.
func createRuleset(attr unix.LandlockRulesetAttr) (fd int, err error) {
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if attr.Scoped != 0 {
		size = unsafe.Offsetof(attr.Scoped) + unsafe.Sizeof(attr.Scoped)
	}
	got, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	return int(got), nil
}

// allowAround grants writing below every entry of dir except the points, whose
// parents it descends into. What is made later beside such a parent's entries
// (a new directory in /) is not granted; nor is, where such a parent can be
// passed but not listed, what lies beside the way.
func (r *ruleset) allowAround(dir string, points []string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) {
		return r.allowOnTheWay(dir, points)
	}
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

// allowOnTheWay goes on towards the points through a directory that can't be listed.
func (r *ruleset) allowOnTheWay(dir string, points []string) error {
	seen := map[string]bool{}
	for _, p := range points {
		below, ok := strings.CutPrefix(p, dir+"/")
		name, _, further := strings.Cut(below, "/")
		if !ok || !further || seen[name] {
			continue
		}
		seen[name] = true
		if err := r.allowAround(filepath.Join(dir, name), points); err != nil {
			return err
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
