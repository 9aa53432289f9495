package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"penstock/image"
	"penstock/internal/bytesize"
	"penstock/internal/hint"
)

// finishImages completes [images.*]. What an image's tag means is not asked here: that is
// of a start and a reload.
func (l *loader) finishImages() {
	for _, name := range slices.Sorted(maps.Keys(l.config.Images)) {
		l.config.Images[name] = l.image(name, l.config.Images[name])
	}
}

func (l *loader) image(name string, i Image) Image {
	prefix := "images." + name + "."
	if err := image.CheckName(name); err != nil {
		l.problem(l.images[name], "images."+name, err)
	}
	rootfs, oci := l.isExplicit(prefix+"rootfs"), l.isExplicit(prefix+"oci")
	switch {
	case l.bad[prefix+"rootfs"] || l.bad[prefix+"oci"]:
	case rootfs && oci:
		l.fail(prefix+"oci", "leave one of them out", "there is rootfs, too")
	case rootfs:
		i.Rootfs = l.imagePath(prefix+"rootfs", i.Rootfs, image.CheckRootfs)
	case oci:
		i.OCI = l.imagePath(prefix+"oci", i.OCI, checkLayout)
	default:
		l.problem(l.images[name], "images."+name, hint.Errorf("write rootfs or oci", "neither a directory nor an image layout"))
	}
	if err := image.CheckHome(i.Home); err != nil && !l.bad[prefix+"home"] {
		l.problem(l.origins[prefix+"home"], prefix+"home", err)
	}
	l.checkWritable(prefix+"writable", i.Writable)
	return i
}

// imagePath makes a path absolute and judges it.
func (l *loader) imagePath(key, path string, check func(string) error) string {
	full, f := l.expand(path)
	if f != nil {
		l.fail(key, f.Hint, "%s", f.Message())
		return path
	}
	if err := check(full); err != nil {
		l.problem(l.origins[key], key, err)
	}
	return full
}

// checkLayout looks whether DIR:TAG begins with an OCI image layout.
func checkLayout(ref string) error {
	dir, _ := image.SplitRef(ref)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hint.Errorf("skopeo copy makes one at oci:DIR:TAG", "%s: %w", dir, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("%s: %w", dir, cause(err))
	case !info.IsDir():
		return hint.Errorf("penstock image add, or skopeo copy to oci:DIR:TAG", "%s: a file, not an OCI image layout", dir)
	}
	_, err = image.OpenLayout(dir)
	return err
}

// checkWritable: what a run writes there is its memory. A backend has a memory_max of its
// own; here it is held to the largest of them.
func (l *loader) checkWritable(key string, writable Size) {
	most := l.config.Limits.MemoryMax.Bytes
	for _, b := range l.config.Backends {
		most = max(most, b.Limits.MemoryMax.Bytes)
	}
	switch {
	case l.bad[key]:
	case writable.Bytes > most:
		l.fail(key, "lower it, or raise memory_max", "%s is more than any run's memory_max: %s is the largest", bytesize.Human(writable.Bytes), bytesize.Human(most))
	case l.isExplicit(key) && writable.zero:
		l.fail(key, "a few MiB, or leave it out", "a run could write nothing")
	}
}

// ImageSources are the images of the configuration as their store takes them.
func (c Config) ImageSources() []image.Source {
	var all []image.Source
	for _, name := range slices.Sorted(maps.Keys(c.Images)) {
		i := c.Images[name]
		s := image.Source{Name: name, Rootfs: i.Rootfs, Home: i.Home, Writable: i.Writable.Bytes}
		if i.OCI != "" {
			s.Layout, s.Tag = image.SplitRef(i.OCI)
		}
		all = append(all, s)
	}
	return all
}
