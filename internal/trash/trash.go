// Package trash deletes trees that may not go at once, or not go at all, such as
// those with files of another user or with directories that can't be written.
//
//	Discard(path)    Move, then Delete: path is out of its place whole, or an error says it is as it was
//	Move(path)       into the directory "trash" two above it, by a rename
//	Delete(taken)    what Move has taken; what can't be deleted stays in the trash
//	Empty(trash)     what stayed there
//	Tree, Below      delete in place, also what its owner can't write
//	Sweep            all in a directory but some names
package trash

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"penstock/internal/openat"
)

// Name is where a tree goes that is to be deleted: out of its place at once
// and whole, so that no crash and no file that can't be removed leaves half of it
// there. There is one in the state directory and one in each store, and what is in
// it has no meaning any more.
const Name = "trash"

// Move moves path, which lies two below such a directory, into its trash and
// tells where it is then, "" where there was nothing. An error says that path is
// as it was.
func Move(path string) (taken string, err error) {
	trash := filepath.Join(filepath.Dir(filepath.Dir(path)), Name)
	if err := os.Mkdir(trash, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("trash: %w", err)
	}
	root, err := openat.Dir(trash)
	if err != nil {
		return "", fmt.Errorf("trash: %v", err) // fs.ErrNotExist would be said of path
	}
	defer root.Close()
	taken = filepath.Join(trash, ulid.Make().String())
	switch err := renameInto(root, filepath.Base(taken), path); {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("trash: %s has gone", trash)
		}
		return "", nil
	case errors.Is(err, syscall.EXDEV):
		return path, nil // it is a mount point: it goes where it is
	case err != nil:
		return "", fmt.Errorf("trash: %w", err)
	}
	return taken, nil
}

// renameInto moves path into a directory that is held open: a run of the daemon's
// user may put a link in the trash's place at any moment, and what lies behind it,
// such as the store, is not ours to delete.
func renameInto(root *os.Root, name, path string) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("renameat", unix.Renameat(unix.AT_FDCWD, path, int(dir.Fd()), name))
}

// Discard deletes path. What of it can't be deleted is in the trash then: an error
// says that path is as it was.
func Discard(path string) error {
	taken, err := Move(path)
	Delete(taken)
	return err
}

// Delete deletes what Move has taken; what stays there Empty tells of.
func Delete(taken string) {
	if filepath.Base(filepath.Dir(taken)) != Name {
		if taken != "" {
			_ = Tree(taken)
		}
		return
	}
	if root, err := openat.Dir(filepath.Dir(taken)); err == nil {
		_ = Below(root, filepath.Base(taken))
		_ = root.Close()
	}
}

// Empty deletes what was left in a trash; one that isn't there is fs.ErrNotExist.
func Empty(path string) error {
	root, err := openat.Dir(path)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := Entries(root, ".")
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, Below(root, e.Name()))
	}
	return errors.Join(errs...)
}

// Tree deletes path and all below; what is not there is no error.
func Tree(p string) error {
	parent, err := os.OpenRoot(filepath.Dir(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	return Below(parent, filepath.Base(p))
}

// Below deletes name below root, and also gets rid of directories their owner can't write, such as those
// of Go's module cache. A Root keeps it inside, whatever is swapped meanwhile.
func Below(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return errors.Join(unlock(root, name), root.RemoveAll(name))
}

// Sweep deletes what lies in a directory but for the names to keep. Files and empty
// directories, which is most of what a run leaves, go by a call or two each.
func Sweep(dir string, keep ...string) error {
	at, err := openat.List(dir)
	if err != nil {
		return err
	}
	defer at.Close()
	names, err := at.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		if !slices.Contains(keep, name) && unlink(int(at.Fd()), name) != nil {
			errs = append(errs, belowOpen(at, name))
		}
	}
	return errors.Join(errs...)
}

// unlink deletes an empty directory or a file.
func unlink(at int, name string) error {
	err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
	if err == unix.ENOTDIR {
		err = unix.Unlinkat(at, name, 0)
	}
	return err
}

// belowOpen is Below for a directory that is held open.
func belowOpen(at *os.File, name string) error {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", at.Fd()))
	if err != nil {
		return err
	}
	defer root.Close()
	return Below(root, name)
}

// unlock makes a directory and all directories below it writable.
func unlock(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.IsDir() {
		return err
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		if err := root.Chmod(name, info.Mode().Perm()|0o700); err != nil {
			return err
		}
	}
	entries, err := Entries(root, name)
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, unlock(root, path.Join(name, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Entries are what a directory below root has.
func Entries(root *os.Root, name string) ([]fs.DirEntry, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}
