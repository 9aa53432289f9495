package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/umoci/oci/layer"

	"penstock/internal/hint"
)

// extractor unpacks layers, one over the other, below a root.
type extractor struct {
	root   string
	rights rights
	budget *budget
	left   map[string]bool // what rights didn't let it make
}

// layer unpacks one, and gives the digest of its tar.
func (x *extractor) layer(l source) (diffID string, err error) {
	packed, err := l.open()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, packed.Close()) }()
	sum := sha256.New()
	stream := &counted{Reader: io.TeeReader(packed, sum), budget: x.budget}
	if err := x.entries(stream); err != nil {
		return "", noRoom(err)
	}
	// What is behind the end of a tar is in its digest, too; behind the end of what is
	// packed some tools write zeros.
	if _, err := io.Copy(io.Discard, stream); err != nil && !errors.Is(err, gzip.ErrHeader) {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func (x *extractor) entries(stream *counted) error {
	to := layer.NewTarExtractor(&layer.UnpackOptions{
		OnDiskFormat: layer.DirRootfs{MapOptions: layer.MapOptions{Rootless: !x.rights.owners}},
	})
	tr := tar.NewReader(stream)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue // a comment, such as git archive's
		case tar.TypeGNUSparse, tar.TypeCont:
			h.Typeflag = tar.TypeReg // archive/tar reads the whole of one, and umoci knows neither
		}
		name := h.Name
		if err := x.check(h); err != nil {
			return fmt.Errorf("%.200q: %w", name, err)
		}
		var from io.Reader = &content{Reader: tr, stream: stream, before: stream.n}
		if x.adapt(h) {
			from = bytes.NewReader(nil)
		}
		if err := to.UnpackEntry(x.root, h, from); err != nil {
			return fmt.Errorf("%.200q: %w", name, err)
		}
	}
}

const whiteoutPrefix = ".wh."

// check refuses what umoci would take at its word.
func (x *extractor) check(h *tar.Header) error {
	name := layer.CleanPath(h.Name)
	if err := x.budget.entry(name, h.Size); err != nil {
		return err
	}
	if len(h.Linkname) > pathMost {
		return fmt.Errorf("it leads to a path of %d bytes: more than %d", len(h.Linkname), pathMost)
	}
	// ".wh..." would take away the directory above the root.
	gone, isWhiteout := strings.CutPrefix(path.Base(name), whiteoutPrefix)
	if isWhiteout && (gone == "" || gone == "." || gone == "..") {
		return errors.New("a whiteout of no file")
	}
	return nil
}

// adapt leaves out of an entry what this process may not make; it tells whether its
// content is left out, too.
func (x *extractor) adapt(h *tar.Header) (empty bool) {
	if !x.rights.owners {
		if h.Uid != 0 || h.Gid != 0 {
			x.note(withoutOwners)
		}
		// All is this process's user's. umoci would note the owners in an attribute of
		// each file.
		h.Uid, h.Gid = 0, 0
	}
	if !x.rights.setID && h.Mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 {
		x.note(withoutSetID)
		h.Mode &^= syscall.S_ISUID | syscall.S_ISGID
	}
	for attribute := range h.Xattrs { //nolint:staticcheck // what umoci reads
		if !x.rights.capabilities && strings.HasPrefix(attribute, "security.") {
			x.note(withoutCapabilities)
			delete(h.Xattrs, attribute) //nolint:staticcheck // as above
		}
	}
	if (h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock) && !x.rights.devices {
		x.note(withoutDevices)
		h.Typeflag, h.Size, h.Mode = tar.TypeReg, 0, 0
		return true
	}
	return false
}

func (x *extractor) note(what string) {
	if x.left == nil {
		x.left = map[string]bool{}
	}
	x.left[what] = true
}

// without is what was left out of all layers.
func (x *extractor) without() []string {
	var all []string
	for what := range x.left {
		all = append(all, what)
	}
	slices.Sort(all)
	return all
}

// noRoom says what to do about a full disk.
func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return hint.Errorf("make room on the store's file system", "%w", err)
	}
	return err
}
