package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The content is flushed before the file has its name, and the directory after.
func TestReplace_FlushesInOrder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	var saw []string
	err := Replace(path, []byte("new"), func(f *os.File) error {
		named, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		own := "directory"
		if f.Name() != dir {
			text, err := os.ReadFile(f.Name())
			if err != nil {
				return err
			}
			own = string(text)
		}
		saw = append(saw, own+" flushed, "+string(named)+" by name")
		return nil
	})
	if diff := cmp.Diff([]string{"new flushed, old by name", "directory flushed, new by name"}, saw); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// What could not be flushed does not get the name, and nothing is left of it.
func TestReplace_WholeOrNot(t *testing.T) {
	dir, dead := t.TempDir(), errors.New("input/output error")
	path := filepath.Join(dir, "f")
	if err := Replace(path, []byte("old"), nil); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("new"), func(*os.File) error { return dead }); !errors.Is(err, dead) {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}
