package bundle

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/hint"
	"penstock/sandbox/bubblewrap"
)

// node is a directory on the way to a mount point, or that itself.
type node struct {
	path     string
	inImage  kind
	children map[string]*node
	at       *point // nil is on the way
}

// grow adds a mount point with the directories that lead to it.
func (p *planner) grow(at *point) error {
	n := p.root
	names := strings.Split(strings.TrimPrefix(at.path, "/"), "/")
	for i, name := range names {
		next := n.children[name]
		if next == nil {
			what, _, err := p.lookAt(n.path, name)
			if err != nil {
				return err
			}
			next = &node{path: path.Join(n.path, name), inImage: what}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[name] = next
		}
		if want := isDir; next.inImage != isAbsent && next.inImage != isOther {
			if i == len(names)-1 && !at.dir {
				want = isFile
			}
			if next.inImage != want {
				return fmt.Errorf("mount %s: the image has a %s in its place", at.path, map[kind]string{isDir: "directory", isFile: "file", isLink: "link"}[next.inImage])
			}
		}
		n = next
	}
	n.at = at
	return nil
}

// lacks tells whether a mount point below has no place in the image's directory.
func (n *node) lacks() bool {
	for _, c := range n.children {
		if c.inImage == isAbsent || c.inImage == isOther {
			return true
		}
	}
	return false
}

// entriesMost is how many entries the directories may have together that are rebuilt: each is a
// descriptor of the daemon's and a mount, and a mount costs the more the more there are.
const entriesMost = 1000

// layOut makes a directory that leads to mount points, unless the image's own can be
// used. above is the rebuilt directory it lies in, nil where its place is the image's.
func (p *planner) layOut(n, above *node) error {
	rebuilt := n == p.root || n.lacks()
	if rebuilt {
		if err := p.rebuild(n, above); err != nil {
			return err
		}
	} else if above != nil {
		if err := p.bindEntry(n.path); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		c := n.children[name]
		if c.at != nil {
			c.at.made = rebuilt
		}
		var in *node
		if rebuilt {
			in = n
		}
		switch {
		case c.at == nil:
			if err := p.layOut(c, in); err != nil {
				return err
			}
		case rebuilt && c.at.dir:
			p.add(bubblewrap.Dir, "", c.path, "mode=755")
		}
	}
	return nil
}

// rebuild makes a directory in a tmpfs, with the image's entries that aren't on the way.
func (p *planner) rebuild(n, above *node) error {
	mode := "mode=755"
	var entries []os.DirEntry
	if n.inImage == isDir {
		dir, err := p.open(n.path)
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
			return &os.PathError{Op: "stat", Path: n.path, Err: err}
		}
		bits := stat.Mode & 0o1777
		if stat.Uid == p.UID {
			bits |= bits >> 6 & 0o5 // what is made anew may not be theirs, and no other user is in the run
		}
		if n == p.root {
			bits |= 0o755 // an operator may have closed the directory that the image lies in
		}
		mode = "mode=" + strconv.FormatUint(uint64(bits), 8)
		if entries, err = list(int(dir.Fd()), n.path, entriesMost+1); err != nil {
			return err
		}
	}
	if p.entries += len(entries); p.entries > entriesMost {
		return hint.Errorf("make the mount point in the image", "%s %s: it has, with others that are, more than %d entries", n.path, n.why(), entriesMost)
	}
	if above != nil {
		p.add(bubblewrap.Dir, "", n.path, mode)
	} else {
		p.add("tmpfs", "tmpfs", n.path, "ro", "size="+strconv.Itoa(rootSize), mode)
	}
	for _, e := range entries {
		if n.children[e.Name()] == nil {
			if err := p.bindEntry(path.Join(n.path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// why tells for what it is made anew: for one of the mount points that are not there.
func (n *node) why() string {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if c := n.children[name]; c.inImage != isDir && c.inImage != isFile {
			return "lacks the mount point " + c.path + ", and is made anew for each run"
		}
	}
	return "is made anew for each run"
}

// bindEntry puts one entry of the image in its place.
func (p *planner) bindEntry(name string) error {
	dir, err := p.open(path.Dir(name))
	if err != nil {
		return err
	}
	fd, err := unix.Openat(int(dir.Fd()), path.Base(name), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return errors.Join(&os.PathError{Op: "stat", Path: name, Err: err}, f.Close())
	}
	switch kindOf(stat.Mode) {
	case isLink:
		target, err := readLink(fd, "")
		p.add(bubblewrap.Symlink, target, name)
		return errors.Join(err, f.Close())
	case isOther:
		return f.Close() // a device of the image would be the host's
	case isDir:
		if stat.Nlink > 2 {
			break // by directories in it
		}
		if none, err := list(fd, name, 1); err == nil && len(none) == 0 {
			p.add(bubblewrap.Dir, "", name, "mode="+strconv.FormatUint(uint64(stat.Mode&0o1777), 8))
			return f.Close() // which spares a mount
		}
	}
	p.add("bind", p.own(f), name, "rbind", "ro")
	return nil
}

// list reads at most so many entries, sorted, of a directory that is held by O_PATH.
func list(dir int, name string, most int) ([]os.DirEntry, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	entries, err := f.ReadDir(most)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}
