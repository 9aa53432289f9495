package trash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"penstock/internal/openat"
)

// A run of the daemon's user may have put a link in the trash's place.
func TestTrash_BehindALinkStays(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	tree := filepath.Join(dir, "runs", "one")
	kept := filepath.Join(elsewhere, "kept")
	if err := errors.Join(os.MkdirAll(tree, 0o700), os.WriteFile(kept, nil, 0o600), os.Symlink(elsewhere, filepath.Join(dir, Name))); err != nil {
		t.Fatal(err)
	}
	if err := Empty(filepath.Join(dir, Name)); err == nil {
		t.Error("a link was followed")
	}
	if err := Discard(tree); err == nil {
		t.Error("a tree was moved behind a link")
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Error(err)
	}
}

// A run that puts a link in the trash's place while it is emptied, or filled, has
// nothing behind the link deleted, nor anything put there.
func TestTrash_IsNotSwapped(t *testing.T) {
	for range 10 { // on a busy machine a swap may come too late to prove anything
		swapWhileEmptied(t)
	}
}

func swapWhileEmptied(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	trash, precious, runs := filepath.Join(dir, Name), filepath.Join(dir, "store"), filepath.Join(dir, "runs")
	const many = 300
	dirs := []string{filepath.Join(runs, "other")}
	for i := range many {
		dirs = append(dirs, filepath.Join(trash, fmt.Sprint(i)), filepath.Join(precious, fmt.Sprint(i)))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	swap := func() error {
		return errors.Join(os.Rename(trash, trash+".x"), os.Symlink(precious, trash))
	}
	swapped := make(chan error, 1)
	go func() {
		for full := true; full; {
			left, err := os.ReadDir(trash)
			full = err == nil && len(left) == many
		}
		swapped <- swap()
	}()
	_ = Empty(trash)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if got := names(t, precious); len(got) != many {
		t.Errorf("behind the link %d of %d are left", len(got), many)
	}
	if err := errors.Join(os.Remove(trash), os.Mkdir(trash, 0o700), os.RemoveAll(trash+".x")); err != nil {
		t.Fatal(err)
	}
	held, err := openat.Dir(trash)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := errors.Join(swap(), renameInto(held, "taken", filepath.Join(runs, "other"))); err != nil {
		t.Fatal(err)
	}
	if got := names(t, precious); len(got) != many {
		t.Errorf("behind the link there are %d, not %d", len(got), many)
	}
	if err := Discard(filepath.Join(runs, "none")); err == nil {
		t.Error("a link was taken for the trash")
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
