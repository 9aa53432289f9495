package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An index that another user's daemon has made is no damaged one: the start is refused, and
// nothing of it is set aside, so that what it knows is not taken for unknown and deleted.
func TestOpen_IndexOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root may give files away")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	dir = filepath.Join(dir, "state")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.History.Begin("r", []byte("{}")), first.Close()); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(dir, "store", "history", "00000001.log")
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path == segment {
			return err
		}
		return errors.Join(err, os.Lchown(path, 54321, 54321))
	})
	if err != nil {
		t.Fatal(err)
	}
	asOther(t, func() {
		_, checked := CheckDir(dir)
		_, opened := Open(dir)
		for _, err := range []error{checked, opened} {
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), segment) || !strings.Contains(err.Error(), "chown") {
				t.Errorf("%v", err)
			}
		}
	})
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.History.Begun(); !slices.Equal(got, []string{"r"}) {
		t.Errorf("known afterwards: %v", got)
	}
}
