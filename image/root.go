package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"penstock/internal/hint"
	"penstock/internal/procinfo"
)

// Root is a root file system, looked at from outside: a link in it leads to where it
// leads a run, never out to the host's.
type Root struct {
	dir string
	as  *person
}

// person is a user for whom programs are looked up.
type person struct {
	uid  uint32
	gids []uint32
}

// At is the root file system in a directory.
func At(dir string) Root { return Root{dir: dir} }

// As is the same, in which programs are those that a user may execute, by permission bits: an
// access list may allow more. Root may execute all.
func (r Root) As(uid uint32, gids []uint32) Root {
	r.as = &person{uid, gids}
	if uid == 0 {
		r.as = nil
	}
	return r
}

// Open opens a regular file or a directory for reading, through the image's links: the
// device that an image may have in its place would be the host's.
func (r Root) Open(path string) (*os.File, error) {
	f, err := pathrs.OpenInRoot(r.dir, path)
	if err != nil {
		return nil, within(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fmt.Errorf("%s: neither a file nor a directory", path)
	}
	if err != nil {
		return nil, within(path, err)
	}
	opened, err := pathrs.Reopen(f, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, within(path, err)
	}
	return opened, nil
}

// Stat tells of a file, through the image's links.
func (r Root) Stat(path string) (fs.FileInfo, error) {
	f, err := pathrs.OpenInRoot(r.dir, path)
	if err != nil {
		return nil, within(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	return info, within(path, err)
}

// Real is a path without the image's links; of what isn't there it is the path itself.
func (r Root) Real(path string) string {
	top, err := pathrs.OpenInRoot(r.dir, "/")
	if err != nil {
		return path
	}
	defer top.Close()
	f, err := pathrs.OpenInRoot(r.dir, path)
	if err != nil {
		return path
	}
	defer f.Close()
	above, errAbove := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", top.Fd()))
	real, errReal := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	rest, ok := strings.CutPrefix(real, strings.TrimSuffix(above, "/")+"/")
	if errAbove != nil || errReal != nil || !ok {
		return path
	}
	return "/" + rest
}

// within tells the path as a run sees it.
func within(path string, err error) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// LookPath finds a program as the image's PATH says.
func (r Root) LookPath(program, path string) (string, error) {
	if strings.Contains(program, "/") {
		if !filepath.IsAbs(program) {
			return "", fmt.Errorf("%s: not absolute", program)
		}
		return program, r.executable(program)
	}
	var first error
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		full := filepath.Join(dir, program)
		err := r.executable(full)
		if err == nil {
			return full, nil
		}
		if first == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			first = err
		}
	}
	if first != nil {
		return "", first
	}
	return "", fmt.Errorf("%s: not on the image's PATH %s: %w", program, path, fs.ErrNotExist)
}

func (r Root) executable(path string) error {
	info, err := r.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", path)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s: not executable", path)
	}
	return r.checkClosed(path)
}

// checkClosed says what of a path is closed to the user: itself, or a directory that leads to it, by
// its name or by where that leads in the end.
func (r Root) checkClosed(path string) error {
	if r.as == nil {
		return nil
	}
	for _, way := range []string{path, r.Real(path)} {
		for i := 0; i >= 0 && i < len(way); {
			at, next := way, strings.IndexByte(way[i+1:], '/')
			if next >= 0 {
				next += i + 1
				at = way[:next]
			}
			info, err := r.Stat(at)
			if err != nil {
				return err
			}
			if !r.as.mayExecute(info) {
				return hint.Errorf("install it where that user can reach it", "%s: %s is closed to user %d", path, at, r.as.uid)
			}
			i = next
		}
	}
	return nil
}

func (p *person) mayExecute(info fs.FileInfo) bool {
	is, ok := info.Sys().(*syscall.Stat_t)
	need := fs.FileMode(0o001)
	switch {
	case !ok:
		return true
	case is.Uid == p.uid:
		need = 0o100
	case slices.Contains(p.gids, is.Gid):
		need = 0o010
	}
	return info.Mode()&need != 0
}

// Supplied are the files that each run has one of its own for, in place of the image's.
func Supplied() []string {
	return []string{"/etc/group", "/etc/hosts", "/etc/passwd", "/etc/resolv.conf"}
}

// DefaultPath is PATH where an image has none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// PathOf is PATH of an image's environment.
func PathOf(env []string) string {
	for _, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok && path != "" {
			return path
		}
	}
	return DefaultPath
}

// CheckRootfs says why a directory can't be the root file system of runs.
func CheckRootfs(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", dir, cause(err))
	case !info.IsDir():
		return fmt.Errorf("%s: not a directory", dir)
	}
	if host, err := os.Stat("/"); err == nil && os.SameFile(host, info) {
		return fmt.Errorf("%s: it is the host's own root file system", dir)
	}
	for _, name := range []string{"usr", "bin"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: no root file system: neither usr nor bin is in it", dir)
}

// MountsBelow are the mount points below a directory, which are not its own files.
func MountsBelow(dir string) ([]string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	mounts, err := procinfo.Host.Mounts()
	var found []string
	for _, m := range mounts {
		if strings.HasPrefix(m.Point, strings.TrimSuffix(real, "/")+"/") {
			found = append(found, m.Point)
		}
	}
	return found, err
}
