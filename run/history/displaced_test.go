package history

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// displace are ways in which a file or a directory is not what it was.
var displace = map[string]func(path string) error{
	"gone": os.RemoveAll,
	"a directory": func(p string) error {
		return errors.Join(os.RemoveAll(p), os.MkdirAll(filepath.Join(p, "x"), 0o700))
	},
	"a FIFO":            func(p string) error { return errors.Join(os.RemoveAll(p), unix.Mkfifo(p, 0o600)) },
	"a link to nothing": func(p string) error { return errors.Join(os.RemoveAll(p), os.Symlink("/nowhere", p)) },
}

// A segment that is written to, and is not what was written to it any more, takes no line:
// what comes is in another one, is found there, and by the next daemon.
func TestIndex_SegmentDisplaced(t *testing.T) {
	ways := map[string]func(path string) error{
		"cut":         func(p string) error { return os.Truncate(p, 100) },
		"emptied":     func(p string) error { return os.Truncate(p, 0) },
		"longer":      func(p string) error { return os.Truncate(p, 1<<20) },
		"all is gone": func(p string) error { return os.RemoveAll(filepath.Dir(p)) },
	}
	const before = ", before the first line"
	for name, do := range displace {
		ways[name], ways[name+before] = do, do
	}
	for name, do := range ways {
		t.Run(name, func(t *testing.T) {
			dir := some(t, 3)
			x, _ := opened(t, dir)
			if !strings.HasSuffix(name, before) {
				finish(t, x, end(10, "c")) // the file is open from now on
			}
			if err := do(pathOf(dir, 1)); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				e := end(20+i, "c")
				finish(t, x, e)
				if got, data, err := x.Get(e.ID); err != nil || got.ID != e.ID || string(data) != `{"of":"`+e.ID+`"}` {
					t.Fatalf("%s: %+v %s %v", e.ID, got, data, err)
				}
			}
			x.Close()
			next, report := opened(t, dir)
			for i := range 3 {
				if id := end(20+i, "c").ID; !next.Has(id) {
					t.Errorf("%s is unknown to the next one, which found %+v", id, report)
				}
			}
		})
	}
}

// A segment that can't be opened costs what is in it, once, and no other.
func TestOpen_SegmentDisplaced(t *testing.T) {
	for name, do := range displace {
		t.Run(name, func(t *testing.T) {
			dir := some(t, 3)
			if err := errors.Join(os.Rename(pathOf(dir, 1), pathOf(dir, 2)), do(pathOf(dir, 1))); err != nil {
				t.Fatal(err)
			}
			damaged := 1
			if name == "gone" {
				damaged = 0
			}
			for _, want := range []int{damaged, 0} {
				x, report := opened(t, dir)
				if n, _ := x.Runs(); n != 3 || report.Damaged != want || report.SetAside != "" {
					t.Errorf("%d runs, %+v, want 3 and %d damaged", n, report, want)
				}
				x.Close()
			}
		})
	}
}

// What has the place of the whole index and is no directory is told of.
func TestOpen_DirectoryDisplaced(t *testing.T) {
	for _, name := range []string{"a FIFO", "a link to nothing"} {
		dir := some(t, 3)
		if err := displace[name](dir); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(dir); err == nil {
			t.Errorf("%s: taken for an index", name)
		}
	}
}
