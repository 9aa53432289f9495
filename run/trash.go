package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"penstock/internal/openat"
)

// trashName is where a tree goes that is to be deleted: out of its place at once
// and whole, so that no crash and no file that can't be removed leaves half of it
// there. There is one in the state directory and one in each store, and what is in
// it has no meaning any more.
const trashName = "trash"

// moveToTrash moves path, which lies two below such a directory, into its trash and
// tells where it is then, "" where there was nothing. An error says that path is
// as it was.
func moveToTrash(path string) (taken string, err error) {
	trash := filepath.Join(filepath.Dir(filepath.Dir(path)), trashName)
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

// discard deletes path. What of it can't be deleted is in the trash then: an error
// says that path is as it was.
func discard(path string) error {
	taken, err := moveToTrash(path)
	deleteTrashed(taken)
	return err
}

// deleteTrashed deletes what moveToTrash has taken; what stays there emptyTrash tells of.
func deleteTrashed(taken string) {
	if filepath.Base(filepath.Dir(taken)) != trashName {
		if taken != "" {
			_ = removeTree(taken)
		}
		return
	}
	if root, err := openat.Dir(filepath.Dir(taken)); err == nil {
		_ = removeAll(root, filepath.Base(taken))
		_ = root.Close()
	}
}

// emptyTrash deletes what was left.
func (s *stateDir) emptyTrash() error {
	var errs []error
	for _, dir := range append(s.store.of(trashName), filepath.Join(s.dir, trashName)) {
		if err := emptyDir(dir); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func emptyDir(path string) error {
	root, err := openat.Dir(path)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := entriesOf(root, ".")
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, removeAll(root, e.Name()))
	}
	return errors.Join(errs...)
}

// unfinished are names of files that were being written: what a crash leaves of
// atomicfile, of probeWrite and of `penstock check`.
var unfinished = []string{".new-*", ".probe-*", ".penstock-check-*"}

// sweepUnfinished removes such files. It is for the holder of the lock, before
// anything is written there.
func (s *stateDir) sweepUnfinished() error {
	var errs []error
	for _, dir := range append(append(s.store.of(), s.store.of("sessions")...), s.dir, s.sessions()) {
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, e := range entries {
			for _, form := range unfinished {
				if ok, _ := filepath.Match(form, e.Name()); ok {
					errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// sweep sets aside directories of sessions that the index doesn't know: a crash
// came between the two, when the session was made or when it was forgotten. It is
// for the time when all runs of an earlier daemon have been adopted, and none has
// been started.
func (s *sessions) sweep() error {
	entries, err := os.ReadDir(s.dir)
	errs := []error{err}
	for _, e := range entries {
		key := e.Name()
		if !e.IsDir() || len(key) != len(sessionKey("", "")) || strings.Trim(key, "0123456789abcdef") != "" {
			continue
		}
		if _, known := s.get(key); known || s.indexed(key) {
			continue
		}
		taken, err := moveToTrash(s.path(key))
		errs = append(errs, err)
		if taken == s.path(key) {
			deleteTrashed(taken) // there is no other place for it
		}
	}
	return errors.Join(errs...)
}

// indexed tells whether there is a file of the session, be it unreadable.
func (s *sessions) indexed(key string) bool {
	for _, path := range append(s.records(key), s.path(key)+".json") {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}
