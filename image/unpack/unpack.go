// Package unpack makes images of what an operator has: it unpacks layers into a store.
//
//	Add ── Source ─ an OCI layout, an archive of docker save, a directory    source.go
//	 │                archive.go directory.go -> layers: streams of tar
//	 ├─ rights: what this process may make                                   rights.go
//	 ├─ extractor: each entry, by umoci's oci/layer                          extract.go
//	 │    └─ budget: room on the disk, bytes, entries                        budget.go
//	 ├─ placeholders: mount points of what each run is supplied with
//	 └─ image.Staging.Commit: all of it, or nothing
//
// It belongs in a process of its own, which `penstock image` is: it sets the umask, its
// memory is as large as a layer's list of files, and umoci may end the process.
//
// What a layer says is not believed: umoci keeps each entry below the root, whatever
// links lead to; budget ends what has no end; the digests of what was read are compared
// with those that the image is known by.
package unpack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/apex/log"
	"github.com/apex/log/handlers/discard"
	"golang.org/x/sys/unix"

	"penstock/image"
	"penstock/internal/hint"
)

// Limits are what an image may take.
type Limits struct {
	// Reserve is the room that stays free on the store's file system.
	Reserve int64
	// Most is how many bytes its layers may have together, unpacked; 0 is DefaultMost.
	Most int64
}

// DefaultMost is several times what the largest images with toolchains have.
const DefaultMost = 64 << 30

// entriesMost bounds the memory that umoci takes for a layer's paths, too.
const entriesMost = 2_000_000

// Add unpacks an image into a store, if it isn't there, and gives it a name; a nil name
// gives it none.
func Add(ctx context.Context, s *image.Store, src Source, name *image.Name, limits Limits) (image.Record, error) {
	// umoci makes directories that a layer leaves out by the umask.
	defer unix.Umask(unix.Umask(0o022))
	log.SetHandler(discard.Default) // umoci's own, of each owner it can't set
	defer src.Close()
	if src.digest != "" {
		if r, err := s.Get(src.digest); err == nil {
			if name == nil {
				return r, nil
			}
			if err := s.SetName(ctx, named(*name, r)); !errors.Is(err, image.ErrGone) {
				return r, err
			}
		}
	}
	staging, err := s.Stage(ctx)
	if err != nil {
		return image.Record{}, err
	}
	r, err := unpack(ctx, staging.Rootfs(), src, limits)
	if err == nil {
		if name != nil {
			n := named(*name, r)
			name = &n
		}
		err = staging.Commit(ctx, r, name)
	}
	return r, errors.Join(err, staging.Discard())
}

func named(n image.Name, r image.Record) image.Name {
	n.Digest, n.Added = r.Digest, time.Now().UTC().Truncate(time.Second)
	return n
}

// unpack unpacks all layers, one over the other.
func unpack(ctx context.Context, rootfs string, src Source, limits Limits) (image.Record, error) {
	may, err := probeRights(rootfs)
	if err != nil {
		return image.Record{}, err
	}
	b, err := newBudget(ctx, rootfs, limits)
	if err != nil {
		return image.Record{}, fmt.Errorf("unpack %s: %w", src.name, err)
	}
	x := &extractor{root: rootfs, rights: may, budget: b}
	digest := src.digest
	for i, l := range src.layers {
		diffID, err := x.layer(l)
		if err == nil && l.diffID != "" && diffID != l.diffID {
			err = fmt.Errorf("what is in it has the digest %s, and its image says %s: damaged, or another's", image.Short(diffID), image.Short(l.diffID))
		}
		if src.digest == "" && errors.Is(err, fs.ErrPermission) {
			err = hint.Errorf(fmt.Sprintf("user %d, whose the store is, must be able to read all of it", os.Geteuid()), "%w", err)
		}
		// archive/tar has no error of its own for it.
		if src.digest == "" && err != nil && strings.Contains(err.Error(), "sockets not supported") {
			err = hint.Errorf("find "+src.name+" -type s shows them, and -delete removes them", "%w", err)
		}
		if err != nil {
			return image.Record{}, fmt.Errorf("unpack %s: layer %d of %d: %w", src.name, i+1, len(src.layers), err)
		}
		if digest == "" { // a directory is its one layer
			digest = diffID
		}
	}
	if digest == "" {
		return image.Record{}, fmt.Errorf("unpack %s: nothing is in it", src.name)
	}
	if err := placeholders(rootfs); err != nil {
		return image.Record{}, fmt.Errorf("unpack %s: %w", src.name, noRoom(err))
	}
	return image.Record{
		Digest: digest, ImageID: src.id, Architecture: src.architecture, Env: src.env, Size: b.taken(), Files: b.entries,
		Source: src.name, Unpacked: time.Now().UTC().Truncate(time.Second), Without: x.without(),
	}, nil
}

// placeholders makes the files empty that each run has one of its own for, where the image
// has none: a run's are mounted over them. Else the directory would be rebuilt for each run,
// entry by entry, which takes longer than all the rest of its start. A link stays what it is,
// and so does a directory that has nothing in it: that costs nothing to rebuild.
func placeholders(rootfs string) error {
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, path := range append(image.Supplied(), caDir) {
		name := strings.TrimPrefix(path, "/")
		top, _, _ := strings.Cut(name, "/")
		dir, err := root.OpenFile(top, os.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			continue // not there, or a link out of the root: what a run makes of that works, too
		}
		_, empty := dir.Readdirnames(1)
		if err := dir.Close(); err != nil || empty != nil {
			continue
		}
		if path == caDir {
			_ = root.MkdirAll(name, 0o755) // it is made for a run, too, and what is in the way stays
			continue
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		switch {
		case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrPermission): // a user who isn't root, a directory that is read-only
		case err != nil:
			return err
		default:
			if err := f.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// caDir is where files mostly lie that the host's variables for CA certificates name: a run
// has them at the same path.
const caDir = "/etc/ssl/certs"
