package sandbox

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/procinfo"
)

const (
	// ownerMax is how many names of one user a wildcard finds in all, root's apart:
	// any user can make any number in a sticky directory.
	ownerMax = 512
	// namesMax is how many it finds at all.
	namesMax = 4096
	// entriesMax is how many entries of one directory are looked at.
	entriesMax = 100_000
)

// ownedName is a name that a wildcard has found, and its owner.
type ownedName struct {
	path string
	uid  uint32
}

// expand finds the paths a pattern names now, and counts those that are too many
// to be looked at. Links in its part without wildcards are the operator's
// (/var/run); behind a wildcard any user may have made them, and they are not followed.
func (m *pathMasker) expand(pattern string) (paths []string, beyond int) {
	fixed, rest := "/", strings.Split(strings.TrimPrefix(pattern, "/"), "/")
	for len(rest) > 1 && !isWild(rest[0]) {
		fixed, rest = filepath.Join(fixed, rest[0]), rest[1:]
	}
	base, err := filepath.EvalSymlinks(fixed)
	if err != nil {
		return nil, 0 // not there, or out of reach for every user
	}
	paths = []string{base}
	for _, component := range rest {
		var found []ownedName
		for _, dir := range paths {
			more, left := m.matches(dir, component)
			found, beyond = append(found, more...), beyond+left
		}
		var left int
		paths, left = choose(found)
		beyond += left
	}
	return paths, beyond
}

func isWild(component string) bool { return strings.ContainsAny(component, `*?[\`) }

// choose takes as many names as are looked at: root's first, of any other user's
// not more than ownerMax, the short ones first (/tmp/tmux-0 is older than
// /tmp/tmux-31337), so that a flood of names costs few masks but its maker's own.
func choose(found []ownedName) (paths []string, beyond int) {
	slices.SortFunc(found, func(a, b ownedName) int {
		return cmp.Or(cmp.Compare(min(a.uid, 1), min(b.uid, 1)), cmp.Compare(len(a.path), len(b.path)), cmp.Compare(a.path, b.path))
	})
	of := map[uint32]int{}
	for _, n := range found {
		if len(paths) == namesMax || n.uid != 0 && of[n.uid] == ownerMax {
			beyond++
			continue
		}
		of[n.uid]++
		paths = append(paths, n.path)
	}
	return paths, beyond
}

// matches are the entries of a directory that fit, links left out. beyond is 1
// where the directory has more than are looked at.
func (m *pathMasker) matches(dir, component string) (found []ownedName, beyond int) {
	fd, err := openNoLinks(m.root, dir)
	if err != nil {
		return nil, 0
	}
	defer unix.Close(fd)
	take := func(name string) {
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT != unix.S_IFLNK {
			found = append(found, ownedName{filepath.Join(dir, name), st.Uid})
		}
	}
	if !isWild(component) {
		take(component)
		return found, 0
	}
	list, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0
	}
	f := os.NewFile(uintptr(list), dir)
	defer f.Close()
	for left := entriesMax; left > 0; {
		names, err := f.Readdirnames(min(left, 1024))
		for _, name := range names {
			if ok, err := filepath.Match(component, name); err == nil && ok {
				take(name)
			}
		}
		if left -= len(names); err != nil {
			return found, 0 // io.EOF
		}
	}
	return found, 1
}

// mountTable are the mounts of a namespace, as they are asked for.
type mountTable struct {
	byID map[uint64]procinfo.Mount
	// left are those that mask nothing: each path is compared with all of these.
	left []procinfo.Mount
}

func newMountTable(mounts []procinfo.Mount) mountTable {
	t := mountTable{byID: make(map[uint64]procinfo.Mount, len(mounts))}
	for _, m := range mounts {
		t.byID[m.ID] = m
		if m.Source != maskSource && m.Root != "/null" { // of /dev
			t.left = append(t.left, m)
		}
	}
	return t
}

// aliases are the other paths under which mounts show what lies at a path: a
// socket is the same one there.
func (m *pathMasker) aliases(path string, mounts mountTable) []string {
	return aliases(m.root, path, mounts)
}

func aliases(root int, path string, mounts mountTable) []string {
	var found []string
	for _, at := range mountsHolding(root, path, mounts.left) {
		inner, ok := rebase(path, at.Point, at.Root)
		if !ok {
			continue
		}
		for _, m := range mounts.left {
			if !sameFiles(m, at) {
				continue
			}
			shown, ok := rebase(inner, m.Root, m.Point)
			if ok && shown != path && !slices.Contains(found, shown) && leadsInto(root, shown, m, mounts) {
				found = append(found, shown)
			}
		}
	}
	return found
}

// sameFiles tells whether two mounts show the same. Each mount of proc is a file system of its
// own (Linux 5.8), and what is not of a process is the same in all of them; so it is with
// sysfs, one for each network namespace.
func sameFiles(a, b procinfo.Mount) bool {
	return a.Device == b.Device || a.FSType == b.FSType && (a.FSType == "proc" || a.FSType == "sysfs")
}

// mountsHolding are the mount that holds a path and the one that is mounted right
// there, by others than us.
func mountsHolding(root int, path string, left []procinfo.Mount) []procinfo.Mount {
	var out []procinfo.Mount
	if at, ok := mountOf(filepath.Dir(path), left); ok {
		out = append(out, at)
	}
	if at, ok := mountOf(path, left); ok && at.Point == path && !isNull(root, path) {
		out = append(out, at)
	}
	return out
}

// leadsInto tells whether a path leads into that procinfo.Mount, or to what masks it there.
func leadsInto(root int, path string, m procinfo.Mount, mounts mountTable) bool {
	t, err := openTarget(root, path)
	if err != nil {
		return false
	}
	defer t.close()
	at, ok := t.mount(mounts)
	return ok && (at.ID == m.ID || at.Point == path)
}

// mountOf is the mount a path lies in.
func mountOf(path string, left []procinfo.Mount) (at procinfo.Mount, ok bool) {
	for _, m := range left {
		if holds(m.Point, path) && len(m.Point) >= len(at.Point) {
			at, ok = m, true
		}
	}
	return at, ok
}

// holds tells whether a path is dir or lies below it.
func holds(dir, path string) bool { return dir == "/" || within([]string{dir}, path) }

// rebase puts what follows from in a path behind to.
func rebase(path, from, to string) (string, bool) {
	if !holds(from, path) {
		return "", false
	}
	return filepath.Join(to, strings.TrimPrefix(path, from)), true
}

// findReachable finds what this process could use at or below a path: a socket
// or FIFO it may write to, or a file; a directory it could put something into
// is one unless it is made for that (sticky, or in a sticky one).
func findReachable(path string) (open string, found bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", false
	}
	may := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil
	if !info.IsDir() {
		return path, may
	}
	if may && !ownable(path, info) {
		return path, true
	}
	var left = 256 // entries looked at; a hostile tree is no reason to stand still
	walk := func(at string, entry os.DirEntry, err error) error {
		if left--; left == 0 || found {
			return filepath.SkipAll
		}
		if err != nil || entry.IsDir() {
			return nil
		}
		if entry.Type()&(os.ModeSocket|os.ModeNamedPipe) != 0 && unix.Faccessat(unix.AT_FDCWD, at, unix.W_OK, unix.AT_EACCESS) == nil {
			open, found = at, true
		}
		return nil
	}
	if err := filepath.WalkDir(path, walk); err != nil {
		return "", false
	}
	return open, found
}

// ownable tells a directory that every user has one of, or a part in.
func ownable(path string, info os.FileInfo) bool {
	if info.Mode()&os.ModeSticky != 0 {
		return true
	}
	parent, err := os.Lstat(filepath.Dir(path))
	return err == nil && parent.Mode()&os.ModeSticky != 0
}
