package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/config"
	"penstock/image"
	"penstock/sandbox"
	"penstock/spawn"
)

// openImages opens the store of images and asks what those of the configuration are. One
// that isn't unpacked yet keeps no daemon from its start, and neither does a store that
// can't be made where no image is configured: on a full disk, say.
func openImages(ctx context.Context, c config.Config, unpack []string, log *slog.Logger) (*image.Manager, error) {
	s, err := image.Open(image.Dir(c.StateDir))
	sources := c.ImageSources()
	if err != nil && len(sources) > 0 {
		return nil, err
	}
	if err != nil {
		log.Warn("no images", "error", err)
		s = nil
	}
	m := image.NewManager(s, log, unpackBy(unpack, s, c.Keep.MinFree.Bytes))
	if err := m.Reload(ctx, sources); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// unpackBy has another process unpack. A file system that a source lies on may hang, and
// umoci may end its process.
func unpackBy(command []string, s *image.Store, keepFree int64) image.Unpack {
	if command == nil || s == nil {
		return nil
	}
	return func(ctx context.Context, layout, digest string) error {
		reserve := keepFree
		var is unix.Statfs_t
		if unix.Statfs(s.Path(), &is) == nil {
			reserve = min(reserve, int64(is.Blocks)*is.Bsize/10)
		}
		_, err := spawn.Output(ctx, slices.Concat(command, []string{s.Path(), layout, digest, strconv.FormatInt(reserve, 10)}), []string{}, nil)
		return err
	}
}

// followImages takes the images of each configuration that is read again, until ctx ends. It
// is not waited for: it may wait for a slow file system.
func (d *daemon) followImages(ctx context.Context, in <-chan []image.Source) {
	for {
		select {
		case <-ctx.Done():
			return
		case sources := <-in:
			if err := d.images.Reload(ctx, sources); err != nil && ctx.Err() == nil {
				d.log.Error("images not taken: those before stay", "error", err)
			}
		}
	}
}

// protectImages are the paths that runs must not write to, for spawn.Options: none where
// Landlock can't keep them out, which would leave the rest without it, too.
func protectImages(s *image.Manager, protected []string) []string {
	path, err := filepath.EvalSymlinks(s.Path())
	if s.Path() == "" || err != nil || slices.ContainsFunc(protected, func(p string) bool { return strings.HasPrefix(path+"/", p+"/") }) {
		return nil
	}
	if os.Geteuid() != 0 && sandbox.Protectable(filepath.Dir(path)) != nil {
		return nil
	}
	return []string{path}
}
