package run

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// removeTree deletes path and all below; what is not there is no error.
func removeTree(p string) error {
	parent, err := os.OpenRoot(filepath.Dir(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	return removeAll(parent, filepath.Base(p))
}

// removeAll also gets rid of directories their owner can't write, such as those
// of Go's module cache. A Root keeps it inside, whatever is swapped meanwhile.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return errors.Join(unlock(root, name), root.RemoveAll(name))
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
	entries, err := entriesOf(root, name)
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, unlock(root, path.Join(name, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func entriesOf(root *os.Root, name string) ([]fs.DirEntry, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}
