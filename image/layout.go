package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"penstock/internal/bytesize"
	"penstock/internal/hint"
)

// Layout is an OCI image layout on disk. What is read from it is held to its digest.
type Layout struct {
	dir  string
	room *int64 // bytes of blobs that may still be read; nil is no bound
}

const (
	// textMost is how long an index, a manifest or a configuration may be, and roomMost all
	// of them together that are read to find an image.
	textMost, roomMost = 4 << 20, 64 << 20
	// partsMost is how many parts one may have. Each can be written with two bytes, and is a
	// hundred in memory: that of the daemon.
	partsMost = 1 << 16
)

// parse reads an index, a manifest or a configuration.
func parse(text []byte, into any) error {
	if bytes.Count(text, []byte{','}) >= partsMost {
		return fmt.Errorf("more than %d parts", partsMost)
	}
	return json.Unmarshal(text, into)
}

// OpenLayout looks whether a directory is one.
func OpenLayout(dir string) (Layout, error) {
	l := Layout{dir: dir}
	var marker v1.ImageLayout
	text, err := l.read(v1.ImageLayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(dir); statErr != nil {
			return l, statErr
		}
		return l, fmt.Errorf("%s: no OCI image layout: it has no file %s", dir, v1.ImageLayoutFile)
	}
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(text, &marker); err != nil || !strings.HasPrefix(marker.Version, "1.") {
		return l, fmt.Errorf("%s: an OCI image layout of version %q: 1 is known", dir, marker.Version)
	}
	return l, nil
}

// SplitRef divides "PATH:TAG" where PATH is there, or else at its last colon; a path may
// hold colons itself.
func SplitRef(ref string) (path, tag string) {
	if _, err := os.Stat(ref); err == nil {
		return ref, ""
	}
	for i, c := range ref {
		if c != ':' {
			continue
		}
		if _, err := os.Stat(ref[:i]); err == nil {
			return ref[:i], ref[i+1:]
		}
	}
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i], ref[i+1:]
	}
	return ref, ""
}

// Found is an image of a layout.
type Found struct {
	Digest string // of its manifest
	Config v1.Image
	// ConfigDigest is what others call the image's id.
	ConfigDigest string
	Layers       []v1.Descriptor
}

// Image reads the manifest of a digest and its configuration.
func (l Layout) Image(digest string) (Found, error) {
	return l.image(v1.Descriptor{Digest: digestOf(digest), Size: -1})
}

func (l Layout) image(d v1.Descriptor) (Found, error) {
	found := Found{Digest: d.Digest.String()}
	text, err := l.blob(d)
	if err != nil {
		return found, err
	}
	var m v1.Manifest
	if err := parse(text, &m); err != nil {
		return found, fmt.Errorf("parse manifest %s: %w", Short(found.Digest), err)
	}
	if err := checkManifest(m); err != nil {
		return found, fmt.Errorf("manifest %s: %w", Short(found.Digest), err)
	}
	found.Layers, found.ConfigDigest = m.Layers, m.Config.Digest.String()
	if text, err = l.blob(m.Config); err != nil {
		return found, err
	}
	if err := parse(text, &found.Config); err != nil {
		return found, fmt.Errorf("parse configuration %s: %w", Short(found.ConfigDigest), err)
	}
	if n := len(found.Config.RootFS.DiffIDs); n != len(m.Layers) {
		return found, fmt.Errorf("manifest %s: %d layers, and its configuration tells of %d", Short(found.Digest), len(m.Layers), n)
	}
	return found, nil
}

// index is the layout's own list of what is in it.
func (l Layout) index() (v1.Index, error) {
	var index v1.Index
	text, err := l.read(v1.ImageIndexFile)
	if err == nil {
		err = parse(text, &index)
	}
	if err != nil {
		return index, fmt.Errorf("%s: %w", filepath.Join(l.dir, v1.ImageIndexFile), cause(err))
	}
	return index, nil
}

// blob reads a small one and holds it to its digest and size; a size of -1 is not known.
func (l Layout) blob(d v1.Descriptor) ([]byte, error) {
	path, err := blobPath(d)
	if err != nil {
		return nil, err
	}
	text, err := l.read(path)
	if err != nil {
		return nil, err
	}
	if l.room != nil {
		if *l.room -= int64(len(text)); *l.room < 0 {
			return nil, fmt.Errorf("more than %s of indexes, manifests and configurations", bytesize.Human(roomMost))
		}
	}
	sum := sha256.Sum256(text)
	if got := hex.EncodeToString(sum[:]); got != d.Digest.Encoded() || d.Size >= 0 && d.Size != int64(len(text)) {
		return nil, fmt.Errorf("%s: %d bytes with digest %s: damaged, or another's", filepath.Join(l.dir, path), len(text), got)
	}
	return text, nil
}

// Open opens the blob of a layer; its size was compared, its digest is the caller's to.
func (l Layout) Open(d v1.Descriptor) (*os.File, error) {
	path, err := blobPath(d)
	if err != nil {
		return nil, err
	}
	f, size, err := l.open(path)
	if err == nil && size != d.Size {
		err = errors.Join(fmt.Errorf("%s: %d bytes, want %d: damaged, or cut", f.Name(), size, d.Size), f.Close())
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func blobPath(d v1.Descriptor) (string, error) {
	if err := CheckDigest(d.Digest.String()); err != nil {
		return "", err
	}
	return filepath.Join(v1.ImageBlobsDir, byDigest, d.Digest.Encoded()), nil
}

func (l Layout) read(name string) ([]byte, error) {
	f, size, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > textMost {
		return nil, fmt.Errorf("%s: %s: more than the %s that it may have", f.Name(), bytesize.Human(size), bytesize.Human(textMost))
	}
	return io.ReadAll(io.LimitReader(f, textMost))
}

// open opens a regular file, also one that a link leads to: what is in it is held to a
// digest. A FIFO would have it wait for ever.
func (l Layout) open(name string) (*os.File, int64, error) {
	f, err := os.OpenFile(filepath.Join(l.dir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", f.Name())
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// checkManifest refuses, by media type, what is no image whose layers can be unpacked.
func checkManifest(m v1.Manifest) error {
	switch m.MediaType {
	case "", v1.MediaTypeImageManifest, dockerManifest:
	default:
		return fmt.Errorf("media type %q is not known", m.MediaType)
	}
	switch m.Config.MediaType {
	case v1.MediaTypeImageConfig, dockerConfig:
	default:
		return fmt.Errorf("no image: its configuration is of media type %q", m.Config.MediaType)
	}
	for i, layer := range m.Layers {
		if _, err := Compression(layer.MediaType); err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(m.Layers), err)
		}
	}
	return nil
}

// What Docker calls the same things.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
)

// Compression is how a layer of a media type is packed: "" for plain, "gzip" or "zstd".
func Compression(mediaType string) (string, error) {
	switch mediaType {
	case v1.MediaTypeImageLayer, dockerLayer:
		return "", nil
	case v1.MediaTypeImageLayerGzip, dockerLayer + ".gzip":
		return "gzip", nil
	case v1.MediaTypeImageLayerZstd, dockerLayer + ".zstd":
		return "zstd", nil
	}
	return "", hint.Errorf("layers are tar, tar+gzip or tar+zstd: skopeo copy --dest-compress-format gzip packs them anew", "media type %q can't be unpacked", mediaType)
}

// cause drops the path of an error that is told already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
