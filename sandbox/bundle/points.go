package bundle

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/hint"
	"penstock/sandbox/pid1"
)

// point is where something is mounted.
type point struct {
	path     string // inside, without links
	dir      bool
	from     *os.File // a bind mount
	readonly bool
	text     []byte   // a file that is supplied
	file     string   // that one's name, from which links of the image lead here
	link     string   // one that is made, in a directory that is rebuilt
	kind     string   // a file system of the kernel's
	options  []string // of that
	place    *pid1.Place
	below    *point // the place that it lies in, or the mount where what is there is the host's
	made     bool   // it lies in a directory that is rebuilt, where the image's is not
}

// ownSystem are directories that no mount may cover, nor go below where deep is true.
var ownSystem = []struct {
	path string
	deep bool
}{{"/usr", false}, {"/etc", false}, {"/bin", false}, {"/sbin", false}, {"/lib", false}, {"/lib64", false}, {"/proc", true}, {"/dev", true}, {"/sys", true}}

// CheckTarget says why nothing can be mounted at a path inside, whatever the image: for a
// configuration. What the image's own links lead to is judged by New.
func CheckTarget(to string) error {
	if to == "/" {
		return errors.New("/: it would cover the whole image")
	}
	for _, c := range ownSystem {
		switch {
		case within(c.path, to):
			return fmt.Errorf("%s: it would cover %s", to, c.path)
		case c.deep && within(to, c.path):
			return fmt.Errorf("%s: nothing can be mounted in %s", to, c.path)
		}
	}
	return nil
}

// mountPoints finds where everything goes, outer ones first, and makes the tree of what
// lies above them.
func (p *planner) mountPoints() error {
	kernel := []*point{
		{path: "/proc", dir: true, kind: "proc"},
		{path: "/dev", dir: true, kind: "devtmpfs", options: []string{"ro"}},
	}
	if err := p.findClosed(); err != nil {
		return err
	}
	var rest []*point
	for _, m := range p.Mounts {
		at, err := p.bindPoint(m)
		if err != nil {
			return err
		}
		rest = append(rest, at)
	}
	rest = p.withoutSpare(rest)
	places, err := p.places(rest)
	if err != nil {
		return err
	}
	led := map[string]string{} // of the files that are supplied: from where
	for _, file := range slices.Sorted(maps.Keys(p.Files)) {
		real, err := p.resolve(file)
		if err != nil {
			return err
		}
		if other := led[real]; other != "" {
			return hint.Errorf(notALink, "%s and %s of the image are one, %s: each run has one of its own for either", other, file, real)
		}
		led[real] = file
		rest = append(rest, &point{path: real, text: p.Files[file], file: file, readonly: true})
	}
	limits, err := p.limitPoints()
	if err != nil {
		return err
	}
	rest = append(rest, limits...)
	slices.SortStableFunc(rest, func(a, b *point) int { return strings.Compare(a.path, b.path) })
	p.points = append(append(kernel, places...), rest...)
	for i, at := range p.points {
		for _, outer := range p.points[:i] {
			if err := at.nest(outer); err != nil {
				return at.ofFile(err)
			}
		}
		if at.below == nil && !strings.HasPrefix(at.path, "/dev/") {
			if err := p.grow(at); err != nil {
				return at.ofFile(err)
			}
		}
	}
	return nil
}

// ofFile names the file that is supplied where what its links lead to has an error.
func (at *point) ofFile(err error) error {
	if at.file == "" || at.file == at.path {
		return err
	}
	var h *hint.Error
	if errors.As(err, &h) {
		err = h.Err
	}
	return hint.Errorf(notALink, "%s of the image leads to %s, where no run can have one of its own: %w", at.file, at.path, err)
}

// notALink is what to do about a link in the place of a file that is supplied.
const notALink = "make it a file in the image, or remove it there"

// nest says how a point lies to one before it.
func (at *point) nest(outer *point) error {
	switch {
	case at.path == outer.path:
		return fmt.Errorf("%s: two mounts go there", at.path)
	case strings.HasPrefix(outer.path, at.path+"/"):
		return fmt.Errorf("mount %s: it would cover %s", at.path, outer.path)
	case !strings.HasPrefix(at.path, outer.path+"/"):
		return nil
	case outer.place != nil && at.place == nil:
		at.below = outer
		return nil
	case outer.path == "/dev" && at.place != nil:
		return nil
	case at.from != nil && outer.from != nil && !outer.readonly && outer.isAnchored():
		// Its place is made on the host, in a directory that runs write: by process 1, which
		// goes there without following a link.
		at.below = outer
		return nil
	}
	return hint.Errorf("mount it beside, or what lies above both", "mount %s: it lies in the mount %s", at.path, outer.path)
}

// withoutSpare leaves out of the points of all mounts what is shown by another.
func (p *planner) withoutSpare(all []*point) []*point {
	var kept []*point
	for i, at := range all {
		shown := func(by *point) bool {
			return by != at && (by.path != at.path || slices.Contains(all[:i], by)) && by.shows(at)
		}
		if !p.Mounts[i].Spare || !slices.ContainsFunc(all, shown) {
			kept = append(kept, at)
		}
	}
	return kept
}

// shows tells whether a mount has another's file at that one's place.
func (at *point) shows(other *point) bool {
	below, ok := strings.CutPrefix(other.path+"/", at.path+"/")
	if !ok {
		return false
	}
	var is, want unix.Stat_t
	if unix.Fstat(int(at.from.Fd()), &is) != nil || unix.Fstat(int(other.from.Fd()), &want) != nil {
		return false
	}
	dir := int(at.from.Fd())
	for name := range strings.SplitSeq(strings.TrimSuffix(below, "/"), "/") {
		if name == "" {
			continue
		}
		next, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		defer unix.Close(next)
		if dir = next; unix.Fstat(next, &is) != nil {
			return false
		}
	}
	return is.Dev == want.Dev && is.Ino == want.Ino
}

// isAnchored tells whether no run can have changed what leads to a mount inside.
func (at *point) isAnchored() bool { return at.below == nil || at.below.place != nil }

// bindPoint judges one of the run's mounts.
func (p *planner) bindPoint(m Mount) (*point, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(m.From.Fd()), &stat); err != nil {
		return nil, &os.PathError{Op: "stat", Path: m.From.Name(), Err: err}
	}
	if dir, ok := p.closed[inode{uint64(stat.Dev), stat.Ino}]; ok {
		return nil, fmt.Errorf("mount %s: %s, which is the daemon's, lies in it", m.From.Name(), dir)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(m.From.Fd()), &fs); err != nil {
		return nil, &os.PathError{Op: "statfs", Path: m.From.Name(), Err: err}
	}
	if kind, ok := ofKernel[int64(fs.Type)]; ok {
		return nil, fmt.Errorf("mount %s: it is the host's %s, of which runs in images see nothing", m.From.Name(), kind)
	}
	at := &point{from: m.From, readonly: m.ReadOnly}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		at.dir = true
	case unix.S_IFREG:
		if !m.ReadOnly {
			return nil, hint.Errorf("mount the directory that it lies in", "mount %s: a single file can only be read: programs put another in its place, which a mount doesn't let them", m.From.Name())
		}
	default:
		return nil, fmt.Errorf("mount %s: neither a directory nor a file", m.From.Name())
	}
	var err error
	if at.path, err = p.resolve(m.To); err != nil {
		return nil, err
	}
	return at, p.checkOpen(at.path)
}

// ofKernel are file systems that show or control the host's processes and devices.
var ofKernel = map[int64]string{
	unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.CGROUP_SUPER_MAGIC: "cgroup", unix.CGROUP2_SUPER_MAGIC: "cgroup2",
	unix.DEBUGFS_MAGIC: "debugfs", unix.TRACEFS_MAGIC: "tracefs", unix.SECURITYFS_MAGIC: "securityfs", unix.BPF_FS_MAGIC: "bpf",
}

// inode is a file by whatever name: a bind mount on the host shows it under another.
type inode struct{ dev, ino uint64 }

func (p *planner) findClosed() error {
	p.closed = map[inode]string{}
	for _, dir := range p.Closed {
		for at := dir; ; at = path.Dir(at) {
			var stat unix.Stat_t
			if err := unix.Stat(at, &stat); err != nil && !errors.Is(err, unix.ENOENT) {
				return &os.PathError{Op: "stat", Path: at, Err: err}
			} else if err == nil {
				p.closed[inode{uint64(stat.Dev), stat.Ino}] = dir
			}
			if at == "/" || at == "." {
				break
			}
		}
	}
	return nil
}

// checkOpen refuses what would take a run's own system from it.
func (p *planner) checkOpen(to string) error {
	refuse := func(what string) error {
		return fmt.Errorf("mount %s: it would cover %s", to, what)
	}
	if to == "/" {
		return refuse("the whole image")
	}
	for _, c := range ownSystem {
		real, err := p.resolve(c.path)
		if err != nil {
			return err
		}
		for _, dir := range []string{c.path, real} {
			if within(dir, to) {
				return refuse(c.path)
			}
			if c.deep && within(to, dir) {
				return fmt.Errorf("mount %s: nothing can be mounted in %s", to, c.path)
			}
		}
	}
	if p.Program != "" {
		real, err := p.resolve(p.Program)
		if err != nil {
			return err
		}
		if dir := path.Dir(real); within(dir, to) {
			return refuse("the program's own directory " + dir)
		}
	}
	return nil
}

// within tells whether a path is dir or lies below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// places are the directories that the run may fill, but for those that a mount takes. All
// are of one tmpfs, which process 1 shares out.
func (p *planner) places(mounts []*point) ([]*point, error) {
	if p.Writable <= 0 {
		return nil, errors.New("no size for what it may write")
	}
	var all []*point
	for _, place := range []pid1.Place{
		{Path: "/tmp", Mode: 0o777 | os.ModeSticky}, {Path: "/var/tmp", Mode: 0o777 | os.ModeSticky},
		{Path: p.Home, Mode: 0o700}, {Path: "/dev/shm", Mode: 0o777 | os.ModeSticky},
	} {
		real := place.Path
		if !strings.HasPrefix(real, "/dev/") { // where the image's isn't used
			var err error
			if real, err = p.resolve(real); err != nil {
				return nil, err
			}
		}
		is := func(p *point) bool { return p.path == real }
		if slices.ContainsFunc(mounts, is) || slices.ContainsFunc(all, is) { // /var/tmp may be a link to /tmp
			continue
		}
		if place.Path == p.Home {
			if err := p.checkOpen(real); err != nil {
				return nil, fmt.Errorf("home: %w", err)
			}
		}
		place.Path = real
		all = append(all, &point{path: real, dir: true, place: &place})
	}
	w := &pid1.Writable{Pool: all[0].path}
	for _, at := range all {
		w.Places = append(w.Places, *at.place)
	}
	p.bundle.Writable = w
	all[0].kind, all[0].options = "tmpfs", []string{"size=" + strconv.FormatInt(p.Writable, 10), "mode=755"}
	return all, nil
}
