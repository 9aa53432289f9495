package unpack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"penstock/image"
	"penstock/internal/bytesize"
	"penstock/internal/hint"
)

const (
	// textMost is how long a manifest or a configuration in an archive may be: each is
	// read whole.
	textMost = 4 << 20
	// filesMost is how many files an archive may have.
	filesMost = 10_000
	manifest  = "manifest.json"
)

// archive is an image of what docker save writes.
func (o *Opened) archive() (Source, error) {
	files, err := o.survey()
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", o.ref, err)
	}
	if err := files.check(manifest); err != nil {
		return Source{}, fmt.Errorf("%s: %w", o.ref, err)
	}
	all, err := tarball.LoadManifest(o.reopen)
	if err != nil {
		return Source{}, fmt.Errorf("%s: parse %s: %w", o.ref, manifest, err)
	}
	tag, config, err := chooseTag(all, o.tag)
	if err == nil {
		err = files.check(config)
	}
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", o.ref, err)
	}
	img, err := tarball.Image(o.reopen, tag)
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", o.ref, err)
	}
	s, err := ofArchive(img)
	s.name = o.ref
	if err != nil {
		err = fmt.Errorf("%s: %w", o.ref, err)
	}
	return s, err
}

// reopen reads the file from its start, without opening it: root may be another user by now.
func (o *Opened) reopen() (io.ReadCloser, error) {
	info, err := o.file.Stat()
	if err != nil {
		return nil, err
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{io.NewSectionReader(o.file, 0, info.Size()), io.NopCloser(nil)}, nil
}

// survey is what an archive holds.
type survey map[string]*tar.Header

func (o *Opened) survey() (survey, error) {
	f, err := o.reopen()
	if err != nil {
		return nil, err
	}
	head, err := bufio.NewReaderSize(f, 16).Peek(6)
	if err == nil && (bytes.HasPrefix(head, []byte{0x1f, 0x8b}) || bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) || bytes.HasPrefix(head, []byte("BZh")) || bytes.HasPrefix(head, []byte("\xfd7zXZ"))) {
		return nil, hint.Errorf("unpack that first, such as by gunzip", "a compressed file, not a tar archive")
	}
	if f, err = o.reopen(); err != nil {
		return nil, err
	}
	files := survey{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, hint.Errorf("a directory, an OCI image layout or an archive of docker save can be added", "read tar: %w", err)
		}
		if len(files) == filesMost {
			return nil, fmt.Errorf("more than %d files: no archive of docker save", filesMost)
		}
		if _, again := files[path.Clean(h.Name)]; !again { // the first is what is read
			files[path.Clean(h.Name)] = h
		}
	}
	_, isDocker := files[manifest]
	_, isLayout := files["oci-layout"]
	switch {
	case isDocker:
		return files, nil
	case isLayout:
		return nil, hint.Errorf("mkdir DIR, tar -xf it into that, and add DIR", "an archive of an OCI image layout")
	}
	return nil, hint.Errorf("a root file system is added as the directory it is unpacked in", "no archive of docker save: it has no %s", manifest)
}

// check refuses what would be read whole and is no text.
func (s survey) check(name string) error {
	h, ok := s[path.Clean(name)]
	switch {
	case !ok:
		return fmt.Errorf("it has no %q", name)
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("%q is no regular file", name)
	case h.Size > textMost:
		return fmt.Errorf("%q: %s: more than the %s that it may have", name, bytesize.Human(h.Size), bytesize.Human(textMost))
	}
	return nil
}

// chooseTag finds the image that a tag means: all of it, or its end behind a slash or a
// colon; "" is the only one. A nil tag is the only one for tarball, too.
func chooseTag(all tarball.Manifest, wanted string) (*name.Tag, string, error) {
	var known []string
	found := map[int]string{}
	for i, d := range all {
		known = append(known, d.RepoTags...)
		if wanted == "" {
			found[i] = ""
		}
		for _, tag := range d.RepoTags {
			if wanted != "" && (tag == wanted || strings.HasSuffix(tag, "/"+wanted) || strings.HasSuffix(tag, ":"+wanted)) {
				found[i] = tag
			}
		}
	}
	slices.Sort(known)
	list := strings.Join(slices.Compact(known), ", ")
	switch {
	case len(found) == 0:
		return nil, "", hint.Errorf(tagsHint(list), "it has no image %q", wanted)
	case len(found) > 1 && list == "":
		return nil, "", fmt.Errorf("%d images without names: save each by itself", len(found))
	case len(found) > 1:
		return nil, "", hint.Errorf("add :TAG: "+list, "%d images are in it", len(found))
	}
	for i, tag := range found {
		if tag == "" {
			return nil, all[i].Config, nil
		}
		parsed, err := name.NewTag(tag)
		return &parsed, all[i].Config, err
	}
	return nil, "", nil
}

func tagsHint(list string) string {
	if list == "" {
		return "it has none: leave :TAG out"
	}
	return "it has " + list
}

// ofArchive takes an image apart. Its digest is that of its configuration, which names
// those of all its layers: an archive has no manifest that a registry would know.
func ofArchive(img v1.Image) (Source, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return Source{}, fmt.Errorf("its configuration: %w", err)
	}
	id, err := img.ConfigName()
	if err != nil {
		return Source{}, fmt.Errorf("its configuration: %w", err)
	}
	if err := image.CheckPlatform(config.OS, config.Architecture, config.Variant); err != nil {
		return Source{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		return Source{}, fmt.Errorf("its layers: %w", err)
	}
	s := Source{digest: id.String(), id: id.String(), architecture: config.Architecture, env: config.Config.Env}
	if len(layers) != len(config.RootFS.DiffIDs) {
		return s, fmt.Errorf("%d layers, and its configuration tells of %d", len(layers), len(config.RootFS.DiffIDs))
	}
	for i, l := range layers {
		s.layers = append(s.layers, source{diffID: config.RootFS.DiffIDs[i].String(), open: func() (io.ReadCloser, error) { return openSaved(l) }})
	}
	return s, nil
}

// openSaved unpacks a layer. The library takes all of an image for packed or not as its first
// layer is, but an image that was loaded and built on has both: what it takes for a tar is looked
// at once more. What is packed by zstd is unpacked by ours, of which the memory is bounded.
func openSaved(l v1.Layer) (io.ReadCloser, error) {
	packed, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	head := bufio.NewReader(packed)
	if packing(head) == "zstd" {
		return unpacked(closing{head, packed.Close}, "zstd")
	}
	if err := packed.Close(); err != nil {
		return nil, err
	}
	plain, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	head = bufio.NewReader(plain)
	return unpacked(closing{head, plain.Close}, packing(head))
}

// packing is how a stream is packed, by its first bytes, which are none of a tar's: "" for not
// at all.
func packing(head *bufio.Reader) string {
	magic, _ := head.Peek(4) // what is shorter is neither
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	}
	return ""
}
