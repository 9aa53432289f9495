package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/config"
	"penstock/image"
	"penstock/internal/hint"
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
	if err := errors.Join(fitImages(c, m.Known), fitPrograms(ctx, c, s, sources)); err != nil {
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
			// Backends are those of the start: they must fit what they get from now on.
			err := fitImages(d.config, func(name string) (image.Known, error) { return image.Lookup(d.images.Store(), sources, name) })
			err = errors.Join(err, fitPrograms(ctx, d.config, d.images.Store(), sources))
			if err == nil {
				err = d.images.Reload(ctx, sources)
			}
			if err != nil && ctx.Err() == nil {
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

// imagePaths are those of the protected paths below which images lie, for spawn.Options.
func imagePaths(s *image.Manager, protected []string) []string {
	path, err := filepath.EvalSymlinks(s.Path())
	if s.Path() == "" || err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(protected), func(p string) bool { return !below(path, p) })
}

// fitImages holds the backends of a configuration against the images that they name: all that
// is wrong, by key.
func fitImages(c config.Config, lookup func(name string) (image.Known, error)) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		b := c.Backends[name]
		if b.Image == "" {
			continue
		}
		known, err := lookup(b.Image)
		if errors.Is(err, image.ErrUnknown) {
			err = hint.Errorf("penstock image add "+b.Image+" ..., or [images."+b.Image+"]; penstock image ls shows what there is", "%q: %w", b.Image, image.ErrUnknown)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("backends.%s.image: %w", name, err))
			continue
		}
		for _, m := range b.Misfits(known.Home, known.Writable) {
			errs = append(errs, fmt.Errorf("backends.%s.%s: %w", name, m.Key, m.Err))
		}
	}
	return errors.Join(errs...)
}

// fitPrograms looks for programs that are named without a path in the images that are there: no
// mount may cover one. The configuration itself has judged a command that is a path.
func fitPrograms(ctx context.Context, c config.Config, s *image.Store, sources []image.Source) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		b := c.Backends[name]
		if b.Image == "" || len(b.Command) == 0 || filepath.IsAbs(b.Command[0]) || len(b.Mounts) == 0 && b.Cwd == "" {
			continue
		}
		found, err := image.Find(ctx, s, sources, b.Image)
		if err != nil {
			continue // what isn't there yet a run finds out
		}
		key, err := coversProgram(b, found)
		if err != nil {
			errs = append(errs, fmt.Errorf("backends.%s.%s: %w", name, key, err))
		}
		errs = append(errs, found.Close())
	}
	return errors.Join(errs...)
}

// coversProgram says which key has something mounted over a backend's program.
func coversProgram(b config.Backend, in *image.Image) (key string, err error) {
	root, env := image.At(in.Rootfs), in.Env
	if path, ok := b.SetEnv["PATH"]; ok {
		env = append([]string{"PATH=" + path}, env...)
	}
	program, err := root.LookPath(b.Command[0], image.PathOf(env))
	if err != nil {
		return "", nil // a mount may have it
	}
	dir := filepath.Dir(root.Real(program))
	covers := func(to string) bool { return to != "" && below(dir, root.Real(to)) }
	switch at := slices.IndexFunc(b.Mounts, func(m config.Mount) bool { return covers(m.To) }); {
	case at >= 0:
		return "mounts", hint.Errorf("mount it elsewhere, or write command as the path of a program in the mount", "%s: it would cover %s, where image %s has the program", b.Mounts[at].To, dir, in.Name)
	case covers(b.Cwd):
		return "cwd", fmt.Errorf("%s: it would cover %s, where image %s has the program", b.Cwd, dir, in.Name)
	}
	return "", nil
}

// storedImages are those of the store, for a successor; a nil store has none.
func storedImages(s *image.Store) (all []StoredImage, err error) {
	if s == nil {
		return nil, nil
	}
	names, err := s.Names()
	for _, n := range names {
		all = append(all, StoredImage{n.Name, cmp.Or(n.Home, image.DefaultHome), n.Writable})
	}
	return all, err
}

// fitStored is fitImages where the store can't be seen, but for what is told of it.
func fitStored(c config.Config, stored []StoredImage) error {
	if wanted, _ := imagesWanted(c); len(wanted) == 0 {
		return nil
	}
	sources := c.ImageSources()
	errs := []error{image.Plan(nil, sources)}
	byName := map[string]image.Known{}
	for _, s := range stored {
		byName[s.Name] = image.Known{Name: s.Name, Home: s.Home, Writable: s.Writable}
		if _, both := c.Images[s.Name]; both {
			errs = append(errs, image.InBoth(s.Name))
		}
	}
	errs = append(errs, fitImages(c, func(name string) (image.Known, error) {
		known, err := image.Lookup(nil, sources, name)
		if is, ok := byName[name]; ok && err != nil {
			return is, nil
		}
		return known, err
	}))
	return errors.Join(errs...)
}
