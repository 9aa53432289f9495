package spawn

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// expand finds the paths a pattern names now. Links in its part without
// wildcards are the operator's (/var/run); behind a wildcard anybody may have
// made them, and they are not followed.
func expand(pattern string) []string {
	fixed, rest := "/", strings.Split(strings.TrimPrefix(pattern, "/"), "/")
	for len(rest) > 1 && !strings.ContainsAny(rest[0], `*?[\`) {
		fixed, rest = filepath.Join(fixed, rest[0]), rest[1:]
	}
	base, err := filepath.EvalSymlinks(fixed)
	if err != nil {
		return nil // not there, or out of reach for everybody
	}
	found := []string{base}
	for _, component := range rest {
		var next []string
		for _, dir := range found {
			next = append(next, matches(dir, component)...)
		}
		found = next
	}
	return found
}

// matches are the entries of a directory that fit, links left out.
func matches(dir, component string) []string {
	if !strings.ContainsAny(component, `*?[\`) {
		path := filepath.Join(dir, component)
		if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink != 0 {
			return nil
		}
		return []string{path}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if ok, err := filepath.Match(component, e.Name()); err == nil && ok && e.Type()&os.ModeSymlink == 0 {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}

// others are the mounts that hide nothing. Anybody can have thousands of paths
// hidden, and each is compared with all of these.
func others(mounts []mount) []mount {
	return slices.DeleteFunc(slices.Clone(mounts), func(m mount) bool {
		return m.Source == hiddenSource || m.Root == "/null" // of /dev
	})
}

// aliases are the other paths under which mounts show what lies at a path: a
// socket is the same one there. left are the others of these mounts.
func aliases(path string, left, mounts []mount) []string {
	var found []string
	for _, at := range homes(path, left) {
		inner, ok := rebase(path, at.Point, at.Root)
		if !ok {
			continue
		}
		for _, m := range left {
			if m.Device != at.Device {
				continue
			}
			shown, ok := rebase(inner, m.Root, m.Point)
			if ok && shown != path && !slices.Contains(found, shown) && shows(shown, m, mounts) {
				found = append(found, shown)
			}
		}
	}
	return found
}

// homes are the mount that holds a path and the one that is mounted right
// there, by others than us.
func homes(path string, left []mount) []mount {
	var out []mount
	if at, ok := mountOf(filepath.Dir(path), left); ok {
		out = append(out, at)
	}
	if at, ok := mountOf(path, left); ok && at.Point == path && !isNull(path) {
		out = append(out, at)
	}
	return out
}

// shows tells whether a path leads into that mount, or to what hides it there.
func shows(path string, m mount, mounts []mount) bool {
	t, err := openTarget(path)
	if err != nil {
		return false
	}
	defer t.close()
	at, ok := t.mount(mounts)
	return ok && (at.ID == m.ID || at.Point == path)
}

// mountOf is the mount a path lies in.
func mountOf(path string, left []mount) (at mount, ok bool) {
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

// reach finds a door at or below a path that this process could use: a socket
// or FIFO it may write to, or a file; a directory it could put something into
// is one unless it is made for that (sticky, or in a sticky one).
func reach(path string) (door string, found bool) {
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
			door, found = at, true
		}
		return nil
	}
	if err := filepath.WalkDir(path, walk); err != nil {
		return "", false
	}
	return door, found
}

// ownable tells a directory that every user has one of, or a part in.
func ownable(path string, info os.FileInfo) bool {
	if info.Mode()&os.ModeSticky != 0 {
		return true
	}
	parent, err := os.Lstat(filepath.Dir(path))
	return err == nil && parent.Mode()&os.ModeSticky != 0
}
