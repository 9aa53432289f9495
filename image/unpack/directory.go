package unpack

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/umoci/oci/layer"

	"penstock/image"
	"penstock/internal/hint"
)

// directory is a root file system, such as debootstrap's: copied, as one layer.
func (o *Opened) directory() (Source, error) {
	path := filepath.Clean(o.ref)
	if err := image.CheckRootfs(o.path); err != nil {
		return Source{}, hint.Errorf("a root file system, an OCI image layout or an archive of docker save can be added", "%s: %s", path, withoutPath(err.Error(), o.path))
	}
	if len(o.mounts) > 0 {
		return Source{}, hint.Errorf("umount them", "%s: these are mount points, not files of it: %s", path, strings.Join(o.mounts, " "))
	}
	return Source{name: path, layers: []source{{open: o.generate}}}, nil
}

// generate is the directory as a tar. It is entered: a process that was root may not come
// there by its path, and a descriptor's path is a link, which would be all of it.
func (o *Opened) generate() (io.ReadCloser, error) {
	before, err := os.Open(".")
	if err != nil {
		return nil, err
	}
	if err := o.file.Chdir(); err != nil {
		return nil, errors.Join(err, before.Close())
	}
	made := layer.GenerateInsertLayer(".", "/", false, nil)
	return closing{made, func() error { return errors.Join(made.Close(), before.Chdir(), before.Close()) }}, nil
}

// withoutPath drops the path of a descriptor, which tells an operator nothing.
func withoutPath(text, path string) string {
	for _, cut := range []string{path + "/", path + ": ", path} {
		text = strings.ReplaceAll(text, cut, "")
	}
	return text
}
