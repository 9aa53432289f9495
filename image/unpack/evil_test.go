package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/image"
)

// outside is a directory beside the store that no layer may reach, below which all of a
// test lies.
func outside(t *testing.T) (dir string, s *image.Store) {
	t.Helper()
	top := t.TempDir()
	for _, name := range []string{"victim", "store"} {
		if err := os.Mkdir(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "victim", "file"), []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := image.Open(filepath.Join(top, "store", "images"))
	if err != nil {
		t.Fatal(err)
	}
	return top, s
}

// Whatever a layer is called and leads to, nothing but the root file system is written to,
// and nothing beside it is taken away.
func TestAdd_Escapes(t *testing.T) {
	top, _ := outside(t)
	victim := filepath.Join(top, "victim")
	up := strings.Repeat("../", 20)
	tests := map[string]struct {
		layers [][]entry
		inside string // where it is then, "" where the add is refused
	}{
		"dots":                    {[][]entry{{file(up+victim[1:]+"/file", "evil")}}, victim[1:] + "/file"},
		"absolute":                {[][]entry{{file(victim+"/file", "evil")}}, victim[1:] + "/file"},
		"through a link":          {[][]entry{{link(tar.TypeSymlink, "out", victim), file("out/file", "evil")}}, victim[1:] + "/file"},
		"through a link of dots":  {[][]entry{{link(tar.TypeSymlink, "out", up+victim[1:]), file("out/file", "evil")}}, victim[1:] + "/file"},
		"through a lower link":    {[][]entry{{link(tar.TypeSymlink, "out", victim)}, {file("out/file", "evil")}}, victim[1:] + "/file"},
		"link to a link":          {[][]entry{{link(tar.TypeSymlink, "a", victim), link(tar.TypeSymlink, "b", "a"), file("b/file", "evil")}}, victim[1:] + "/file"},
		"over a link":             {[][]entry{{link(tar.TypeSymlink, "out", victim+"/file"), file("out", "evil")}}, "out"},
		"hard link to the host's": {[][]entry{{link(tar.TypeLink, "hard", victim+"/file"), file("hard", "evil")}}, ""},
		"hard link by dots":       {[][]entry{{link(tar.TypeLink, "hard", up+victim[1:]+"/file")}}, ""},
		"hard link to a link":     {[][]entry{{link(tar.TypeSymlink, "out", victim+"/file"), link(tar.TypeLink, "hard", "out"), file("hard", "evil")}}, "hard"},
		"whiteout through a link": {[][]entry{{link(tar.TypeSymlink, "out", victim)}, {file("out/.wh.file", "")}}, "out"},
		"opaque through a link":   {[][]entry{{link(tar.TypeSymlink, "out", victim)}, {file("out/.wh..wh..opq", "")}}, "out"},
		"whiteout of the parent":  {[][]entry{{file(".wh...", "")}}, ""},
		"whiteout of itself":      {[][]entry{{dir("a", 0o755), file("a/.wh..", "")}}, ""},
		"whiteout of no name":     {[][]entry{{dir("a", 0o755), file("a/.wh.", "")}}, ""},
		"whiteout of the root":    {[][]entry{{dir("a", 0o755), file("a/../.wh...", "")}}, ""},
		"root as a link":          {[][]entry{{link(tar.TypeSymlink, ".", victim)}}, ""},
		"root as a file":          {[][]entry{{file("./", "evil", func(h *tar.Header) { h.Name = "a/.." })}}, ""},
		"deep":                    {[][]entry{{file(strings.Repeat("d/", 300)+"f", "")}}, ""},
		"long":                    {[][]entry{{file(strings.Repeat("d", 5000), "")}}, ""},
		"long link":               {[][]entry{{link(tar.TypeSymlink, "l", strings.Repeat("d", 5000))}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, s := outside(t)
			before := tree(t, victim)
			storeBefore := tree(t, filepath.Dir(s.Path()))
			var layers []packed
			for _, entries := range tt.layers {
				layers = append(layers, gzipped(tarOf(t, entries...)))
			}
			_, err := addTo(t.Context(), s, "x", layersIn(t, layers...))
			if (err == nil) != (tt.inside != "") {
				t.Errorf("%v", err)
			}
			if diff := cmp.Diff(before, tree(t, victim)); diff != "" {
				t.Errorf("outside: -before +after:\n%s", diff)
			}
			wantEmpty(t, s)
			if err != nil {
				after := tree(t, filepath.Dir(s.Path()))
				for _, made := range []string{"images/lock", "images/trash"} {
					delete(after, made)
				}
				if diff := cmp.Diff(storeBefore, after); diff != "" {
					t.Errorf("the store: -before +after:\n%s", diff)
				}
				return
			}
			if _, err := os.Lstat(filepath.Join(rootfsOf(t, s, "x"), tt.inside)); err != nil {
				t.Error(err)
			}
		})
	}
}

// bomb is a stream that gzip makes small.
func bomb(t *testing.T, write func(w io.Writer) error) packed {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := errors.Join(write(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	// Its digest is never come to.
	return packed{ociLayer + "+gzip", []byte("unknown"), b.Bytes()}
}

func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// sparse is a file of 8 EiB in a few hundred bytes: GNU's PAX format 1.0.
func sparse(w io.Writer) error {
	tw := tar.NewWriter(w)
	blocks := make([]byte, 512) // the map: no data
	copy(blocks, "0\n")
	err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 512, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"VENDOR.a": "b",
	}})
	if err == nil {
		_, err = tw.Write(blocks)
	}
	return errors.Join(err, tw.Flush())
}

// sparseLayer writes what archive/tar doesn't write: the records of a sparse file.
func sparseLayer(size int64) func(io.Writer) error {
	return func(w io.Writer) error {
		var b bytes.Buffer
		if err := sparse(&b); err != nil {
			return err
		}
		record := func(key, value string) string {
			rest := " " + key + "=" + value + "\n"
			n := len(rest) + 2
			if n > 99 {
				n++
			}
			return fmt.Sprintf("%d%s", n, rest)
		}
		records := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "big") + record("GNU.sparse.realsize", fmt.Sprint(size))
		text := b.Bytes()
		// The first header is that of the records, the second block they: both anew.
		head := make([]byte, 512)
		copy(head, text[:512])
		copy(head[124:], fmt.Sprintf("%011o\x00", len(records)))
		sumHeader(head)
		body := make([]byte, (len(records)+511)/512*512)
		copy(body, records)
		_, err := w.Write(append(append(head, body...), text[1024:]...))
		return err
	}
}

// sumHeader sets a header's checksum.
func sumHeader(head []byte) {
	copy(head[148:156], "        ")
	sum := 0
	for _, c := range head {
		sum += int(c)
	}
	copy(head[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// oldSparse is what tar --sparse --format=gnu writes: one piece of data at the end of a hole.
func oldSparse(size int64, data string) func(io.Writer) error {
	return func(w io.Writer) error {
		octal := func(n int64) string { return fmt.Sprintf("%011o\x00", n) }
		head := make([]byte, 512)
		for at, field := range map[int]string{
			0: "old", 100: "0000644\x00", 108: "0000000\x00", 116: "0000000\x00", 124: octal(int64(len(data))), 136: octal(0),
			156: string(tar.TypeGNUSparse), 257: "ustar  \x00", 386: octal(size - int64(len(data))), 398: octal(int64(len(data))), 483: octal(size),
		} {
			copy(head[at:], field)
		}
		sumHeader(head)
		body := make([]byte, (len(data)+511)/512*512)
		copy(body, data)
		_, err := w.Write(append(head, body...))
		return err
	}
}

// What unpacks without an end comes to one, before the disk is full.
func TestAdd_Bombs(t *testing.T) {
	const most = 1 << 20
	tests := map[string]struct {
		write func(io.Writer) error
		want  string
	}{
		"a large file": {func(w io.Writer) error {
			tw := tar.NewWriter(w)
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 16 << 20}); err != nil {
				return err
			}
			_, err := io.Copy(tw, zeros(16<<20))
			return err
		}, "more than the 1 MiB"},
		"many files": {func(w io.Writer) error {
			tw := tar.NewWriter(w)
			for i := range 3000 {
				if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i % 7), Size: 100}); err != nil {
					return err
				}
				if _, err := tw.Write(make([]byte, 100)); err != nil {
					return err
				}
			}
			return nil
		}, "more than the 1 MiB"},
		"behind its end": {func(w io.Writer) error { _, err := io.Copy(w, zeros(16<<20)); return err }, "more than the 1 MiB"},
		"a hidden file": {func(w io.Writer) error {
			tw := tar.NewWriter(w)
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: ".wh.f", Size: 16 << 20}); err != nil {
				return err
			}
			_, err := io.Copy(tw, zeros(16<<20))
			return err
		}, "more than the 1 MiB"},
		"a sparse file":        {sparseLayer(1 << 62), "more than the 1 MiB"},
		"a smaller sparse one": {sparseLayer(2 << 20), "more than the 1 MiB"},
		"an old sparse file":   {oldSparse(7<<30, "x"), "more than the 1 MiB"},
		"many old sparse files": {func(w io.Writer) error {
			for range 20 {
				if err := oldSparse(200<<10, "x")(w); err != nil {
					return err
				}
			}
			return nil
		}, "more than the 1 MiB"},
		"many sparse files": {func(w io.Writer) error {
			for range 20 {
				if err := sparseLayer(200 << 10)(w); err != nil {
					return err
				}
			}
			return nil
		}, "more than the 1 MiB"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			_, err := addWithin(t.Context(), s, "x", layersIn(t, bomb(t, tt.write)), Limits{Most: most})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			wantEmpty(t, s)
		})
	}
}

// A sparse file that fits is there, with the holes that were told counted.
func TestAdd_Sparse(t *testing.T) {
	s := newStore(t)
	var b bytes.Buffer
	if err := sparseLayer(3 << 20)(&b); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, 1024))
	r, err := addTo(t.Context(), s, "x", layersIn(t, plain(b.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(rootfsOf(t, s, "x"), "big"))
	if err != nil || info.Size() != 3<<20 || r.Size < 3<<20 || r.Size > 4<<20 {
		t.Errorf("%v %v, counted %d", info, err, r.Size)
	}
}

// So are those of older kinds, of which umoci knows nothing.
func TestAdd_OldKinds(t *testing.T) {
	s := newStore(t)
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeCont, Name: "contiguous", Size: 2, Mode: 0o600})
	if err == nil {
		_, err = tw.Write([]byte("hi"))
	}
	if err = errors.Join(err, tw.Flush(), oldSparse(3<<20, "end")(&b)); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, 1024))
	r, err := addTo(t.Context(), s, "x", layersIn(t, plain(b.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	if r.Size < 3<<20 || r.Size > 4<<20 {
		t.Errorf("counted %d", r.Size)
	}
	for name, want := range map[string]string{"contiguous": "hi", "old": strings.Repeat("\x00", 3<<20-3) + "end"} {
		if got, err := os.ReadFile(filepath.Join(rootfsOf(t, s, "x"), name)); err != nil || string(got) != want {
			t.Errorf("%s: %v, %d bytes", name, err, len(got))
		}
	}
}

// No more is unpacked than is free, and what is to stay free does.
func TestAdd_Room(t *testing.T) {
	s := newStore(t)
	var fs unix.Statfs_t
	if err := unix.Statfs(s.Path(), &fs); err != nil {
		t.Fatal(err)
	}
	free := int64(fs.Bavail) * fs.Bsize
	ref := layersIn(t, gzipped(tarOf(t, file("f", strings.Repeat("x", 1<<20)))))
	for reserve, want := range map[int64]string{free + 1<<40: "are to stay so", free - 256<<10: "beside the"} {
		if reserve < free && want == "beside the" { // others write here, too
			t.Logf("%d of %d stay free", reserve, free)
		}
		_, err := addWithin(t.Context(), s, "x", ref, Limits{Reserve: reserve})
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "are to stay so") {
			t.Errorf("%v, want %q", err, want)
		}
		wantEmpty(t, s)
	}
}

// A file system that is full, of bytes or of files, ends an add with what to do about it.
func TestAdd_FullDisk(t *testing.T) {
	needRoot(t)
	many := make([]entry, 0, 3000)
	for i := range 3000 { // each takes a page
		many = append(many, file(fmt.Sprint(i), "x"))
	}
	ref := layersIn(t, gzipped(tarOf(t, many...)))
	for options, want := range map[string]string{
		"size=8m":                "no space left on device (hint: make room",
		"size=64m,nr_inodes=999": "more files can be made (hint: remove files)",
	} {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
			t.Skipf("this machine lets us mount nothing: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		s, err := image.Open(filepath.Join(dir, "images"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := addTo(t.Context(), s, "x", ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
		wantEmpty(t, s)
	}
}

// Files and the directories above them are counted: each costs memory.
func TestBudget_Entries(t *testing.T) {
	b := &budget{ctx: context.Background(), dir: t.TempDir(), left: 1 << 40, most: 1 << 40}
	for i := range 20 {
		if err := b.entry(fmt.Sprintf("a/b/c/%d", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if b.paths != 3+20 {
		t.Errorf("%d paths", b.paths)
	}
	var err error
	b.paths = entriesMost - 2000
	for i := 0; err == nil && i < 100; i++ {
		err = b.entry(fmt.Sprintf("%d/%sf", i, strings.Repeat("d/", 200)), 0)
	}
	if err == nil || b.entries > 20+10 {
		t.Errorf("%v after %d entries", err, b.entries)
	}
}

// An add that is called off ends, and leaves nothing.
func TestAdd_Cancelled(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	endless := bomb(t, func(w io.Writer) error {
		tw := tar.NewWriter(w)
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 4 << 30}); err != nil {
			return err
		}
		_, err := io.Copy(tw, zeros(16<<20))
		return err
	})
	if _, err := addTo(ctx, s, "x", layersIn(t, endless)); err == nil {
		t.Error("it was added")
	}
	wantEmpty(t, s)
}
