// Package bundle lays out what a run in an image sees: an OCI specs.Spec, with the
// descriptors that it names and what process 1 is to do beside it.
//
//	New ── Options of a run -> Bundle                                        bundle.go
//	  mountPoints   where mounts go, through the image's links               points.go resolve.go
//	  layOut        the root: a small tmpfs with the image's entries in it   layout.go
//	  limitPoints   what memory it may have                                  supplied.go
//	OpenSource      what is mounted, opened as the run's user                source.go
//	Supplied        resolv.conf, hosts, passwd, group                        supplied.go
//
// An image is never written to, so it can't be a root to which mount points are added. In
// its place is a tmpfs with the image's top entries bound read-only; a directory that lacks
// a mount point is rebuilt the same way, however deep it lies. A link of the image is made
// anew as a link: as the source of a bind mount it would lead to the host's files.
package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/internal/memfd"
	"penstock/sandbox/bubblewrap"
	"penstock/sandbox/pid1"
)

// Options are of one run.
type Options struct {
	Image string // the directory of its root file system
	Name  string // what that is called in errors; "" is its path
	// UID is the run's user: of a directory that has to be made anew they have the owner's rights.
	UID uint32
	// Home is HOME inside. Where no mount goes there it is a writable directory of its own.
	Home     string
	Hostname string
	// Program is where the CLI lies inside, if that is known: no mount may cover it.
	Program string
	Mounts  []Mount
	// Closed are directories of the host, with what lies above them, that no mount may
	// show: the daemon's records and the store of images.
	Closed []string
	// Files are supplied: their content by their path, in place of the image's.
	Files    map[string][]byte
	Memory   int64 // bytes that programs are told they may have; 0 is no word of it
	Writable int64 // bytes of Home, /tmp, /var/tmp and /dev/shm together
	// UserNamespace is for a daemon that may not mount by itself.
	UserNamespace bool
	NoNetwork     bool
	FirstFD       int // the number that the first of Bundle.Files will have
}

// Mount is a file or directory of the host's, by a descriptor of OpenSource.
type Mount struct {
	From     *os.File
	To       string
	ReadOnly bool // a single file always
	// Spare is left out where another mount shows the same file at its place, to which the
	// image's links may lead.
	Spare bool
}

// Bundle is what New has made. Its files are to be open until bubblewrap has them.
type Bundle struct {
	Spec     *specs.Spec
	Files    []*os.File // from Options.FirstFD on
	Writable *pid1.Writable
	opened   []*os.File // those of Files that are not the caller's
}

// Close closes what New has opened: not Mount.From.
func (b *Bundle) Close() error {
	var errs []error
	for _, f := range b.opened {
		errs = append(errs, f.Close())
	}
	b.opened = nil
	return errors.Join(errs...)
}

// New lays out a run's root. Nothing is mounted or made by it.
func New(o Options) (*Bundle, error) {
	b := &Bundle{Spec: &specs.Spec{
		Version: specs.Version, Hostname: o.Hostname, Root: &specs.Root{Path: o.Image, Readonly: true},
		Linux: &specs.Linux{Namespaces: namespaces(o)},
	}}
	p := &planner{Options: o, bundle: b, root: &node{path: "/", inImage: isDir}}
	if err := p.plan(); err != nil {
		return nil, errors.Join(fmt.Errorf("image %s: %w", cmp.Or(o.Name, o.Image), err), b.Close())
	}
	return b, nil
}

func namespaces(o Options) []specs.LinuxNamespace {
	all := []specs.LinuxNamespace{
		{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
		{Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace},
	}
	if o.UserNamespace {
		all = append(all, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	if o.NoNetwork {
		all = append(all, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	return all
}

// planner makes one Bundle.
type planner struct {
	Options
	bundle  *Bundle
	dirs    map[string]*os.File // of the image: see open
	root    *node
	points  []*point
	entries int              // of directories that are rebuilt
	closed  map[inode]string // Closed and what lies above, by the path of the closed one
}

func (p *planner) plan() error {
	root, err := openDir(p.Image)
	if err != nil {
		return err
	}
	p.dirs = map[string]*os.File{"/": root}
	defer func() {
		for _, dir := range p.dirs {
			_ = dir.Close() // of O_PATH
		}
	}()
	if err := p.mountPoints(); err != nil {
		return err
	}
	if err := p.layOut(p.root, nil); err != nil {
		return err
	}
	for _, point := range p.points {
		if err := p.emit(point); err != nil {
			return err
		}
	}
	return nil
}

// rootSize is of a tmpfs that holds directories and links alone.
const rootSize = 1 << 20

// add appends a mount to the Spec.
func (p *planner) add(kind, source, to string, options ...string) {
	p.bundle.Spec.Mounts = append(p.bundle.Spec.Mounts, specs.Mount{Type: kind, Source: source, Destination: to, Options: options})
}

// descriptor hands a file to bubblewrap and names it as a mount's source.
func (p *planner) descriptor(f *os.File) string {
	p.bundle.Files = append(p.bundle.Files, f)
	return bubblewrap.Source(p.FirstFD + len(p.bundle.Files) - 1)
}

// own is a descriptor that the Bundle closes.
func (p *planner) own(f *os.File) string {
	p.bundle.opened = append(p.bundle.opened, f)
	return p.descriptor(f)
}

// emit mounts what is to be at a point.
func (p *planner) emit(at *point) error {
	switch {
	case at.kind != "":
		p.add(at.kind, at.kind, at.path, at.options...)
	case at.link != "":
		p.add(bubblewrap.Symlink, at.link, at.path)
	case at.text != nil:
		f, err := memfd.Sealed("supplied", at.text)
		if err != nil {
			return err
		}
		to := at.path
		if !at.made {
			to = p.move(at)
		}
		p.add(bubblewrap.Copy, p.own(f), to, "mode=444")
	case at.from != nil:
		to := at.path
		if at.below != nil {
			to = p.move(at)
		}
		access := "rw"
		if at.readonly {
			access = "ro"
		}
		p.add("bind", p.descriptor(at.from), to, "rbind", access)
	}
	return nil
}

// move has process 1 bind what bubblewrap puts into the pool to its point: below a place, which
// process 1 makes, or over a file, for a mount of bubblewrap's costs twenty times as much.
func (p *planner) move(at *point) (to string) {
	w := p.bundle.Writable
	m := pid1.Move{From: "move" + strconv.Itoa(len(w.Moves)), To: at.path, File: !at.dir, ReadOnly: at.text != nil}
	if at.below != nil {
		m.Below = at.below.path
	}
	w.Moves = append(w.Moves, m)
	return w.Pool + "/" + m.From
}
