// Package inimage lays out a run in an image: what it sees of the host, and its environment.
//
//	Image, of a backend ── Enter(a run) -> Entry: spawn.Image, env       inimage.go
//	    mounts in this order, each opened once as the run's user         mounts.go
//	      the backend's, a kept home, the run's own directory, cwd
//	      the repository of a cwd that is a worktree                     worktree.go
//	      files that CA variables name
//	    env: the image's, the backend's, what is ours
//
// Nothing else of the host's files is in it. What can't be had refuses the run: it never
// has the host's file system in its place.
package inimage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"penstock/backend"
	"penstock/image"
	"penstock/run/store"
	"penstock/sandbox/bundle"
	"penstock/spawn"
)

// Image is what a backend's runs have.
type Image struct {
	Name      string // see image.Manager.Use
	Mounts    []Mount
	NoNetwork bool
	// InRoots tells whether a path without links lies where clients may work.
	InRoots func(path string) bool
	// Login is what the daemon's own user is called.
	Login string
	// Certificates are where files of CA variables lay at the daemon's start: see there.
	Certificates map[string]string
	// ReadonlyPaths and MaskedPaths are of /proc.
	ReadonlyPaths, MaskedPaths []string
}

// Mount is a file or directory of the host's.
type Mount struct {
	From, To string
	ReadOnly bool
}

// Run is one that is to be started.
type Run struct {
	StateDir string      // below which its own directories lie
	Dir      string      // its own directory; "" is none
	Tmp      string      // TMPDIR
	Cwd      string      // where it works; "" is nowhere
	Held     *os.File    // Cwd when it was checked; nil was not
	Home     string      // a kept home; "" is none
	User     *store.User // nil is the daemon's own
	Program  string      // the first word of its command
	Env      []string    // the backend's
	Memory   int64       // bytes of memory.max; 0 is none
	Status   *os.File    // see spawn.Image; Entry.Close closes it
}

// Entry is what a start in an image needs.
type Entry struct {
	Image *spawn.Image
	Env   []string
	files []*os.File
}

// Spawn is nil without an image.
func (e *Entry) Spawn() *spawn.Image {
	if e == nil {
		return nil
	}
	return e.Image
}

// Close closes what was opened for the start.
func (e *Entry) Close() error {
	if e == nil {
		return nil
	}
	var errs []error
	for _, f := range e.files {
		errs = append(errs, f.Close())
	}
	e.files = nil
	return errors.Join(errs...)
}

const (
	// writablePart is the default of what may be written to memory, of memory.max.
	writablePart = 4
	// writableMost is that of a run without a cap.
	writableMost = 256 << 20
)

// Enter opens what a run has in an image that is held for it. The error of a directory that
// isn't any more what was checked wraps sandbox.ErrMoved.
func (i *Image) Enter(held *image.Image, r Run) (*Entry, error) {
	e := &Entry{files: []*os.File{r.Status}}
	person := i.person(held, r)
	files, err := bundle.Supplied(held.Rootfs, held.Name, person, !i.NoNetwork)
	if err == nil {
		person.Name = firstField(files["/etc/passwd"])
		e.Env = environment(held, r, person)
		var mounts []bundle.Mount
		mounts, err = i.mounts(e, held, r)
		e.Image = &spawn.Image{
			Root: bundle.Options{
				Image: held.Rootfs, Name: held.Name, UID: person.UID, Home: held.Home, Hostname: held.Name, Program: programIn(held, r, e.Env),
				Mounts: mounts, Files: files, Memory: r.Memory, Writable: writable(held, r), NoNetwork: i.NoNetwork,
			},
			Status: r.Status, Lock: held.Lock, ReadonlyPaths: i.ReadonlyPaths, MaskedPaths: i.MaskedPaths,
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("image %s: %w", held.Name, err), e.Close())
	}
	return e, nil
}

// person is the run's user as it is known inside.
func (i *Image) person(held *image.Image, r Run) bundle.Person {
	if u := r.User; u != nil {
		return bundle.Person{Name: u.Name, UID: u.UID, GID: u.GID, Home: held.Home}
	}
	return bundle.Person{Name: i.Login, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Home: held.Home}
}

func writable(held *image.Image, r Run) int64 {
	n := held.Writable
	switch {
	case n <= 0 && r.Memory <= 0:
		return writableMost
	case n <= 0:
		return r.Memory / writablePart
	case r.Memory > 0:
		return min(n, r.Memory) // a client has asked for less than the configuration's
	}
	return n
}

// programIn is where the image has the program, "" where it hasn't: a mount may have it. One
// that was named by its path was held against the mounts by the configuration.
func programIn(held *image.Image, r Run, env []string) string {
	if filepath.IsAbs(r.Program) {
		return ""
	}
	at, err := image.At(held.Rootfs).LookPath(r.Program, image.PathOf(env))
	if err != nil {
		return ""
	}
	return at
}

// environment is the image's, over it the backend's, and on top what is ours to say.
func environment(held *image.Image, r Run, person bundle.Person) []string {
	own := []string{"HOME=" + held.Home, "USER=" + person.Name, "LOGNAME=" + person.Name, "TMPDIR=" + r.Tmp}
	env := backend.MergeEnv(held.Env, r.Env, own)
	if !hasPath(env) {
		env = backend.MergeEnv(env, []string{"PATH=" + image.DefaultPath})
	}
	return env
}

func hasPath(env []string) bool {
	for _, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			return path != ""
		}
	}
	return false
}

// firstField is the name in the first line of a passwd(5): the image may have another for
// the same id.
func firstField(passwd []byte) string {
	name, _, _ := strings.Cut(string(passwd), ":")
	return name
}
