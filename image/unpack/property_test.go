package unpack

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever entries layers have, in whatever order, nothing but the root changes.
func TestExtractor_StaysInside(t *testing.T) {
	dirs := t.TempDir()
	unpacked := 0
	rapid.Check(t, func(r *rapid.T) {
		top, err := os.MkdirTemp(dirs, "")
		if err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(top, "beside", "root")
		for _, d := range []string{root, filepath.Join(top, "victim", "a")} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []string{"victim/b", "victim/a/b", "beside/b"} {
			if err := os.WriteFile(filepath.Join(top, f), []byte("untouched"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		outside := func() map[string]string {
			all := tree(t, top)
			for path := range all {
				if strings.HasPrefix(path, "beside/root") {
					delete(all, path)
				}
			}
			return all
		}
		before := outside()
		part := rapid.SampledFrom([]string{"a", "b", "c", ".", "..", "", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh.", ".wh..", ".wh..."})
		name := rapid.Custom(func(r *rapid.T) string {
			return rapid.SampledFrom([]string{"", "", "/", "./", "../../../"}).Draw(r, "lead") + strings.Join(rapid.SliceOfN(part, 1, 4).Draw(r, "parts"), "/")
		})
		target := rapid.OneOf(name, rapid.SampledFrom([]string{
			top + "/victim", top + "/victim/b", top + "/beside", "../../victim", "../../victim/b", "..", "/", strings.Repeat("../", 12) + top[1:] + "/victim/a", "/proc/self/cwd",
		}))
		entries := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) entry {
			kind := rapid.SampledFrom([]byte{tar.TypeReg, tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo}).Draw(r, "type")
			e := entry{Header: tar.Header{Typeflag: kind, Name: name.Draw(r, "name"), Mode: int64(rapid.SampledFrom([]int{0o755, 0o644, 0, 0o4755}).Draw(r, "mode"))}}
			if kind != tar.TypeDir { // archive/tar writes no such name
				e.Name = strings.TrimRight(e.Name, "/")
			}
			switch kind {
			case tar.TypeReg:
				e.text = "evil"
				e.Size = 4
			case tar.TypeSymlink, tar.TypeLink:
				e.Linkname = target.Draw(r, "target")
			}
			return e
		}), 1, 8)
		b, err := newBudget(t.Context(), root, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(r, "layers") {
			layer := tarOf(t, entries.Draw(r, "entries")...)
			x := &extractor{root: root, budget: b, rights: rights{owners: os.Geteuid() == 0, setID: true}}
			if _, err := x.layer(source{open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }}); err == nil {
				unpacked++
			}
			if diff := cmp.Diff(before, outside()); diff != "" {
				r.Fatalf("outside: -before +after:\n%s", diff)
			}
		}
		if err := os.RemoveAll(top); err != nil {
			t.Fatal(err)
		}
	})
	if unpacked == 0 {
		t.Error("no layer was one")
	}
	t.Logf("%d layers unpacked", unpacked)
}
