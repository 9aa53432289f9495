package unpack

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"penstock/image"
	"penstock/internal/hint"
)

// Source is an image to unpack.
type Source struct {
	name         string // as an operator wrote it
	digest       string // "" of a directory: that of what is unpacked
	id           string
	architecture string
	env          []string
	layers       []source
	close        func() error
}

// String is what it is unpacked from.
func (s Source) String() string { return s.name }

// Close gives free what Open has opened.
func (s Source) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// source is one layer.
type source struct {
	diffID string // the digest of its tar; "" isn't known yet
	open   func() (io.ReadCloser, error)
}

// Opened is what an operator wrote, opened but not read yet: between the two a process of
// root can become another user.
type Opened struct {
	ref  string
	tag  string
	path string // of a directory that is held open
	file *os.File
	dir  bool
	// mounts are those below a directory.
	mounts []string
}

// Open opens PATH or PATH:TAG.
func Open(ref string) (*Opened, error) {
	path, tag := image.SplitRef(ref)
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	o := &Opened{ref: absolute, tag: tag}
	if tag != "" {
		o.ref += ":" + tag
	}
	info, err := os.Stat(absolute)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Errorf(whatIsTaken(ref), "open %s: %w", ref, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: neither a file nor a directory", absolute)
	}
	if o.file, err = os.Open(absolute); err != nil {
		return nil, err
	}
	if o.dir = info.IsDir(); o.dir {
		if o.mounts, err = image.MountsBelow(absolute); err != nil {
			return nil, errors.Join(err, o.file.Close())
		}
	}
	o.path = fmt.Sprintf("/proc/self/fd/%d", o.file.Fd())
	return o, nil
}

// whatIsTaken says what would be, beside something that isn't there. Some write it as for skopeo.
func whatIsTaken(ref string) string {
	transport, rest, _ := strings.Cut(ref, ":")
	switch transport {
	case "oci", "docker-archive", "dir":
		return "without the prefix " + transport + ": it is a path, " + rest
	case "oci-archive":
		return "unpack it by tar -xf first, and add the directory that it is in"
	case "docker", "docker-daemon", "containers-storage":
		return "nothing is pulled: skopeo copy " + ref + " oci:DIR:TAG first, then add DIR:TAG"
	}
	return "a directory, an OCI image layout or an archive of docker save; nothing is pulled: skopeo copy docker://... oci:DIR:TAG does that"
}

// Read finds out what it is, and which image is meant.
func (o *Opened) Read() (Source, error) {
	s, err := o.read()
	if err != nil {
		return s, errors.Join(err, o.file.Close())
	}
	s.close = o.file.Close
	return s, nil
}

func (o *Opened) read() (Source, error) {
	if !o.dir {
		return o.archive()
	}
	if _, err := os.Stat(filepath.Join(o.path, "oci-layout")); err == nil {
		return o.layout()
	}
	if o.tag != "" {
		return Source{}, fmt.Errorf("open %s: only an OCI image layout and an archive have tags", o.ref)
	}
	return o.directory()
}

// layout is a tag of an OCI image layout.
func (o *Opened) layout() (Source, error) {
	l, err := image.OpenLayout(o.path)
	if err != nil {
		return Source{}, o.named(err)
	}
	found, err := l.Resolve(o.tag)
	if err != nil {
		return Source{}, o.named(err)
	}
	return ofLayout(o.ref, l, found)
}

// named puts what an operator wrote in place of the descriptor's path.
func (o *Opened) named(err error) error {
	var h *hint.Error
	if errors.Is(err, fs.ErrPermission) {
		h = hint.Errorf(fmt.Sprintf("user %d, whose the store is, must be able to read all of it", os.Geteuid()), "%w", err)
	}
	if h != nil || errors.As(err, &h) {
		return hint.Errorf(h.Hint, "%s: %s", o.ref, withoutPath(h.Message(), o.path))
	}
	return fmt.Errorf("%s: %s", o.ref, withoutPath(err.Error(), o.path))
}

// Digest is an image of a layout by the digest of its manifest.
func Digest(dir, digest string) (Source, error) {
	l, err := image.OpenLayout(dir)
	if err != nil {
		return Source{}, err
	}
	found, err := l.Image(digest)
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", dir, err)
	}
	return ofLayout(dir, l, found)
}

func ofLayout(name string, l image.Layout, found image.Found) (Source, error) {
	s := Source{name: name, digest: found.Digest, id: found.ConfigDigest, architecture: found.Config.Architecture, env: found.Config.Config.Env}
	for i, d := range found.Layers {
		packing, err := image.Compression(d.MediaType)
		if err != nil {
			return s, err
		}
		s.layers = append(s.layers, source{
			diffID: found.Config.RootFS.DiffIDs[i].String(),
			open: func() (io.ReadCloser, error) {
				f, err := l.Open(d)
				if err != nil {
					return nil, err
				}
				return unpacked(f, packing)
			},
		})
	}
	return s, nil
}

// zstdMemory bounds the window of a zstd stream, which its header asks for.
const zstdMemory = 128 << 20

// unpacked decompresses a stream. That the tar in it has the right digest is all that
// counts: nothing else of the stream is used.
func unpacked(f io.ReadCloser, packing string) (io.ReadCloser, error) {
	switch packing {
	case "":
		return f, nil
	case "gzip":
		r, err := gzip.NewReader(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("gzip: %w", err), f.Close())
		}
		return closing{r, f.Close}, nil
	case "zstd":
		r, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMemory))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("zstd: %w", err), f.Close())
		}
		return closing{r, func() error { r.Close(); return f.Close() }}, nil
	}
	return nil, errors.Join(fmt.Errorf("%q is not known", packing), f.Close())
}

// closing is a reader with what closes it.
type closing struct {
	io.Reader
	close func() error
}

func (c closing) Close() error { return c.close() }
