package inimage

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/image"
	"penstock/internal/hint"
	"penstock/sandbox"
	"penstock/sandbox/bundle"
)

// opener opens what a run has mounted.
type opener struct {
	entry *Entry
	as    *syscall.Credential
	all   []opened
}

// opened is a mount with its source's path.
type opened struct {
	bundle.Mount
	from  string
	named bool // by the operator: a path in a variable that lies in it is meant to
}

// add opens a source as the run's user, and mounts it.
func (o *opener) add(from, to string, readOnly, named bool) (*os.File, error) {
	f, err := bundle.OpenSource(from, o.as)
	if err != nil {
		return nil, err
	}
	o.entry.files = append(o.entry.files, f)
	o.all = append(o.all, opened{bundle.Mount{From: f, To: to, ReadOnly: readOnly}, from, named})
	return f, nil
}

// mounts opens what the run has of the host.
func (i *Image) mounts(e *Entry, held *image.Image, r Run) ([]bundle.Mount, error) {
	o := &opener{entry: e, as: r.User.Credential()}
	for _, m := range i.Mounts {
		if _, err := o.add(m.From, m.To, m.ReadOnly, true); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.To, err)
		}
	}
	if r.Home != "" {
		if _, err := o.add(r.real(r.Home), held.Home, false, false); err != nil {
			return nil, fmt.Errorf("home: %w", err)
		}
	}
	if r.Dir != "" {
		if _, err := o.add(r.real(r.Dir), r.Dir, false, false); err != nil {
			return nil, fmt.Errorf("the run's own directory: %w", err)
		}
	}
	if r.Cwd != "" {
		cwd, err := o.cwd(r)
		if err != nil {
			return nil, fmt.Errorf("cwd: %w", err)
		}
		if err := i.worktree(o, r.Cwd, cwd); err != nil {
			return nil, fmt.Errorf("the repository of cwd: %w", err)
		}
	}
	if err := o.certificates(e.Env, i.Certificates); err != nil {
		return nil, err
	}
	var all []bundle.Mount
	for _, m := range o.all {
		all = append(all, m.Mount)
	}
	return all, nil
}

// real is a path below the state directory without the links that lead to that: below,
// where runs write, none is followed.
func (r Run) real(name string) string {
	rest, ok := strings.CutPrefix(name, r.StateDir)
	if real, err := filepath.EvalSymlinks(r.StateDir); ok && err == nil {
		return real + rest
	}
	return name
}

// cwd mounts where the run works, at the same path, and returns it opened. It must be the
// directory that was checked.
func (o *opener) cwd(r Run) (*os.File, error) {
	var f *os.File
	var err error
	if m := o.over(r.Cwd); m != nil && m.isSame() {
		if m.ReadOnly {
			return nil, hint.Errorf("name another cwd, or mount it rw", "%s: it lies in the mount %s, which is read-only", r.Cwd, m.To)
		}
		if f, err = bundle.OpenSource(r.real(r.Cwd), o.as); err == nil {
			o.entry.files = append(o.entry.files, f)
		}
	} else {
		if err := bundle.CheckTarget(r.Cwd); err != nil {
			return nil, err
		}
		f, err = o.add(r.real(r.Cwd), r.Cwd, false, false)
	}
	if err != nil || r.Held == nil {
		return f, err
	}
	return f, sameFile(f, r.Held)
}

func sameFile(a, b *os.File) error {
	var one, other unix.Stat_t
	if err := errors.Join(unix.Fstat(int(a.Fd()), &one), unix.Fstat(int(b.Fd()), &other)); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if one.Dev != other.Dev || one.Ino != other.Ino {
		return fmt.Errorf("%s: %w", b.Name(), sandbox.ErrMoved)
	}
	return nil
}

// over is the innermost mount that a path inside lies in; nil is none.
func (o *opener) over(name string) (found *opened) {
	for i := range o.all {
		m := &o.all[i]
		if isWithin(name, m.To) && (found == nil || len(m.To) > len(found.To)) {
			found = m
		}
	}
	return found
}

// isSame tells whether paths below mean the same on both sides.
func (m *opened) isSame() bool { return m.from == m.To }

// Certificates are where files that CA variables of this process name lie, without links, by
// their paths: for Image.Certificates.
func Certificates() map[string]string {
	real := map[string]string{}
	for _, name := range backend.CAVariables() {
		for file := range paths(os.Getenv(name)) {
			if at, err := filepath.EvalSymlinks(file); err == nil && at != file {
				real[file] = at
			}
		}
	}
	return real
}

// paths are the absolute ones of a list.
func paths(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, file := range filepath.SplitList(list) {
			if path.IsAbs(file) && !yield(path.Clean(file)) {
				return
			}
		}
	}
}

// certificates mounts what variables name that the daemon passes on. What isn't there, or is
// closed to the run's user, isn't for a run without an image either.
func (o *opener) certificates(env []string, real map[string]string) error {
	named := map[string]string{}
	for _, name := range backend.CAVariables() {
		for file := range paths(passed(env, name)) {
			named[file] = name
		}
	}
	for _, file := range slices.Sorted(maps.Keys(named)) { // directories before what is in them
		if m := o.over(file); m != nil && (m.isSame() || m.named || m.To == file) {
			continue
		}
		f, err := openCertificate(file, real[file], o.as)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", named[file], err)
		}
		o.entry.files = append(o.entry.files, f)
		if info, err := f.Stat(); err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue // a device: it has its own
		}
		o.all = append(o.all, opened{bundle.Mount{From: f, To: file, ReadOnly: true, Spare: true}, file, false})
	}
	return nil
}

// openCertificate opens what a path leads to, or, where runs could have put a link on the way, what it
// led to at the daemon's start. If that is gone by now, what is wrong is the link.
func openCertificate(file, real string, as *syscall.Credential) (*os.File, error) {
	f, err := bundle.OpenSource(file, as)
	if real == "" || !errors.Is(err, bundle.ErrLink) {
		return f, err
	}
	f, realErr := bundle.OpenSource(real, as)
	if errors.Is(realErr, fs.ErrNotExist) {
		return nil, err
	}
	return f, realErr
}

// passed is the value of a variable that is the daemon's own; what the configuration or the
// image sets is a path inside.
func passed(env []string, name string) string {
	value := os.Getenv(name)
	for _, v := range env {
		if set, ok := strings.CutPrefix(v, name+"="); ok && set == value {
			return value
		}
	}
	return ""
}

// isWithin tells whether a path is dir or lies below it.
func isWithin(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
