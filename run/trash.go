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
)

// trashName is where a tree goes that is to be deleted: out of its place at once
// and whole, so that no crash and no file that can't be removed leaves half of it
// there. There is one in the state directory and one in each store, and what is in
// it has no meaning any more.
const trashName = "trash"

// setAside moves path, which lies two below such a directory, into its trash and
// tells where it is then, "" where there was nothing. An error says that path is
// as it was.
func setAside(path string) (taken string, err error) {
	trash := filepath.Join(filepath.Dir(filepath.Dir(path)), trashName)
	if err := os.Mkdir(trash, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("trash: %w", err)
	}
	if err := isOwnDir(trash); err != nil {
		return "", err
	}
	taken = filepath.Join(trash, ulid.Make().String())
	switch err := os.Rename(path, taken); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, syscall.EXDEV):
		return path, nil // somebody has mounted it: it goes where it is
	case err != nil:
		return "", fmt.Errorf("trash: %w", err)
	}
	return taken, nil
}

// isOwnDir refuses a link that a run of the daemon's user has put in a trash's place:
// what lies behind it is not ours to delete.
func isOwnDir(path string) error {
	info, err := os.Lstat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: not a directory of our own: %s", path, info.Mode())
	}
	return err
}

// discard deletes path. What of it can't be deleted is in the trash then: an error
// says that path is as it was.
func discard(path string) error {
	taken, err := setAside(path)
	empty(taken)
	return err
}

// empty deletes what setAside has taken; what stays emptyTrash tells of.
func empty(taken string) {
	if taken != "" {
		_ = removeTree(taken)
	}
}

// emptyTrash deletes what was left.
func (s *state) emptyTrash() error {
	var errs []error
	for _, dir := range append(s.store.of(trashName), filepath.Join(s.dir, trashName)) {
		if err := isOwnDir(dir); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, e := range entries {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// unfinished are names of files that were being written: what a crash leaves of
// atomicfile, of probeWrite and of `penstock check`.
var unfinished = []string{".new-*", ".probe-*", ".penstock-check-*"}

// sweepUnfinished removes such files. It is for the holder of the lock, before
// anything is written there.
func (s *state) sweepUnfinished() error {
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
		taken, err := setAside(s.path(key))
		errs = append(errs, err)
		if taken == s.path(key) {
			empty(taken) // there is no other place for it
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
