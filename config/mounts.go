package config

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"penstock/backend/kinds"
	"penstock/internal/bytesize"
	"penstock/internal/hint"
	"penstock/sandbox/bundle"
)

// Mount is a file or directory of the host's in an image.
type Mount struct {
	From string `toml:"from"` // on the host
	To   string `toml:"to"`   // inside
	Mode string `toml:"mode"` // readOnly, also where nothing is written, or readWrite
}

const (
	readOnly  = "ro"
	readWrite = "rw"
	noNetwork = "none"
	// mountForm is how one is written.
	mountForm = `{ from = "/srv/cache", to = "/cache", mode = "ro" }`
)

// ReadOnly tells whether a run can't write there.
func (m Mount) ReadOnly() bool { return m.Mode != readWrite }

// NoNetwork tells whether its runs have none.
func (b Backend) NoNetwork() bool { return b.Network == noNetwork }

// mountsLiteral is what the environment or a flag says: FROM:TO or FROM:TO:MODE.
func mountsLiteral(list []string) string {
	var all []string
	for _, one := range list {
		part := append(strings.SplitN(one, ":", 3), "", "")
		all = append(all, "{ from = "+quote(part[0])+", to = "+quote(part[1])+", mode = "+quote(part[2])+" }")
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// unknownPart names the key of a table in a value that it may not have.
func unknownPart(err *toml.StrictMissingError) error {
	for _, e := range err.Errors {
		key := e.Key()
		return hint.Errorf("a mount is written "+mountForm, "unknown key %s", key[len(key)-1])
	}
	return err
}

// mounts judges those of a backend, and makes their sources absolute.
func (l *loader) mounts(prefix string, be Backend) []Mount {
	const key = "mounts"
	if be.Image == "" {
		for name, written := range map[string]bool{key: len(be.Mounts) > 0, "network": be.NoNetwork()} {
			if written && !l.bad[prefix+name] {
				l.fail(prefix+name, `write image = "NAME"`, "a run without an image has the host's")
			}
		}
		return be.Mounts
	}
	if be.NoNetwork() && slices.Contains(Known(), be.Kind) {
		l.fail(prefix+"network", `leave it out, or write "host"`, "%s can't work without its model", be.Kind)
	}
	if be.Kind == "demo" {
		l.fail(prefix+"image", "leave it out", "demo is the daemon's own program, and in no image")
	}
	if be.Cwd != "" {
		err := bundle.CheckTarget(be.Cwd)
		if err == nil {
			err = l.checkSource(be.Cwd)
		}
		if dir := be.ProgramDir(); err == nil && dir != "" && isWithin(dir, be.Cwd) {
			err = fmt.Errorf("%s: it would cover the program's own directory %s", be.Cwd, dir)
		}
		if err != nil {
			l.problem(l.origins[prefix+"cwd"], prefix+"cwd", fmt.Errorf("in an image: %w", err))
		}
	}
	if be.Home != "" && be.Home != privateHome {
		if err := l.checkSource(be.Home); err != nil {
			l.problem(l.origins[prefix+"home"], prefix+"home", fmt.Errorf("in an image: %w", err))
		}
	}
	out := slices.Clone(be.Mounts)
	for i := range out {
		if err := l.mount(&out[i], be); err != nil {
			l.problem(l.origins[prefix+key], prefix+key, err)
		}
	}
	return out
}

// mount judges one by itself.
func (l *loader) mount(m *Mount, be Backend) error {
	from, f := l.expandFor(be.User, m.From)
	if f != nil {
		return f
	}
	m.From = from
	if m.Mode == "" {
		m.Mode = readOnly
	}
	info, err := os.Stat(from)
	switch {
	case m.Mode != readOnly && m.Mode != readWrite:
		return hint.Errorf("rw or ro", "mode %q is not known", m.Mode)
	case err != nil:
		return fmt.Errorf("%s: %w", from, cause(err))
	case !info.IsDir() && !info.Mode().IsRegular():
		return fmt.Errorf("%s: neither a directory nor a file", from)
	case !info.IsDir() && !m.ReadOnly():
		return hint.Errorf("mount the directory that it lies in, or write mode = \"ro\"", "%s: a single file can only be read: programs put another in its place, which a mount doesn't let them", from)
	case !filepath.IsAbs(m.To):
		return hint.Errorf("write an absolute path, inside the image", "%q is not absolute", m.To)
	case filepath.Clean(m.To) != m.To:
		return hint.Errorf("write "+filepath.Clean(m.To), "%q is not clean", m.To)
	}
	if err := bundle.CheckTarget(m.To); err != nil {
		return err
	}
	if isWithin(l.config.StateDir, m.To) {
		return fmt.Errorf("%s: state_dir lies in it, with what each run has of its own", m.To)
	}
	if dir := be.ProgramDir(); dir != "" && isWithin(dir, m.To) && !m.holds(be.Command[0]) {
		return fmt.Errorf("%s: it would cover the program's own directory %s", m.To, dir)
	}
	return l.checkSource(from)
}

// ProgramDir is where a backend's program lies in an image, "" where that is looked for.
func (b Backend) ProgramDir() string {
	if len(b.Command) == 0 || !filepath.IsAbs(b.Command[0]) {
		return ""
	}
	return filepath.Dir(b.Command[0])
}

// holds tells whether what is mounted has a file by that path inside.
func (m Mount) holds(path string) bool {
	rel, err := filepath.Rel(m.To, path)
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(m.From, rel))
	return err == nil
}

// MayMount tells whether a program, by its path or looked for on a PATH, may come with a mount.
func (b Backend) MayMount(program, path string) bool {
	return slices.ContainsFunc(b.Mounts, func(m Mount) bool {
		if filepath.IsAbs(program) {
			return isWithin(program, m.To)
		}
		return slices.ContainsFunc(filepath.SplitList(path), func(dir string) bool { return isWithin(dir, m.To) || isWithin(m.To, dir) })
	})
}

// checkSource keeps what is the daemon's own out of images.
func (l *loader) checkSource(from string) error {
	real := resolved(from)
	for _, kernel := range []string{"/proc", "/sys"} {
		if isWithin(real, kernel) {
			return fmt.Errorf("%s: nothing of the host's %s can be mounted", from, kernel)
		}
	}
	for _, dir := range []string{l.config.StateDir, l.config.StateDir + ".store"} {
		if isWithin(resolved(dir), real) {
			return fmt.Errorf("%s: %s, which is the daemon's, lies in it", from, dir)
		}
	}
	for _, own := range []string{"runs", "sessions", "store", "trash", "images"} {
		if dir := filepath.Join(resolved(l.config.StateDir), own); isWithin(real, dir) {
			return fmt.Errorf("%s: it is the daemon's own", from)
		}
	}
	if dir := resolved(l.config.StateDir + ".store"); isWithin(real, dir) {
		return fmt.Errorf("%s: it is the daemon's own", from)
	}
	return nil
}

// resolved is a path without links; one that isn't there yet stays as it is.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// isWithin tells whether a path is dir or lies below it.
func isWithin(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// expandFor is expand with "~" as the home of a backend's user.
func (l *loader) expandFor(name, path string) (string, *hint.Error) {
	if name == "" || path != "~" && !strings.HasPrefix(path, "~/") {
		return l.expand(path)
	}
	u, err := user.Lookup(name)
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return "", hint.Errorf("write an absolute path", "%q: user %s has no home", path, name)
	}
	return filepath.Join(u.HomeDir, path[1:]), nil
}

// Misfit is why a backend can't have an image: a key of the backend's section.
type Misfit struct {
	Key string
	Err error
}

// Misfits holds a backend against an image: its home, and the bytes that may be written, 0
// is the default. It is asked at the start, and again where a reload changes the image.
func (b Backend) Misfits(home string, writable int64) (all []Misfit) {
	add := func(key, remedy, format string, args ...any) {
		all = append(all, Misfit{key, hint.Errorf(remedy, format, args...)})
	}
	if most := b.Limits.MemoryMax.Bytes; writable > most {
		add("image", "lower its writable, or raise memory_max", "writable of image %s is %s, more than memory_max of %s", b.Image, bytesize.Human(writable), bytesize.Human(most))
	}
	if b.Cwd != "" && b.Cwd != home && isWithin(home, b.Cwd) {
		add("cwd", "", "%s: it would cover the image's home %s", b.Cwd, home)
	}
	places := []string{home, "/tmp", "/var/tmp"}
	for i, m := range b.Mounts {
		for _, place := range places {
			if m.To != place && isWithin(place, m.To) {
				add("mounts", "mount it elsewhere", "%s: it would cover %s", m.To, place)
			}
		}
		if m.To == home && b.Home != "" {
			add("mounts", "leave one of them out", "%s: it is the image's home, which home = %q goes to", m.To, b.Home)
		}
		var in []string
		if b.Home != "" && m.To != home && isWithin(m.To, home) {
			in = append(in, home)
		}
		for _, other := range b.Mounts {
			if m.To != other.To && isWithin(m.To, other.To) {
				in = append(in, other.To)
			}
		}
		if len(in) > 1 {
			add("mounts", "mount it beside", "%s: it lies in a mount that lies in another: %s", m.To, strings.Join(in, ", "))
		}
		for _, other := range b.Mounts[:i] {
			switch {
			case m.To == other.To:
				add("mounts", "leave one of them out", "%s: two mounts go there", m.To)
			case isWithin(m.To, other.To) && other.ReadOnly():
				add("mounts", "mount it beside", "%s: it lies in the mount %s, which is read-only", m.To, other.To)
			case isWithin(other.To, m.To) && m.ReadOnly():
				add("mounts", "mount it beside", "%s: it lies in the mount %s, which is read-only", other.To, m.To)
			}
		}
	}
	return all
}

// KeepsSessions tells whether the CLI of a backend finds in an image what it has written of
// a session: it has a home that is kept, or a directory of the host's where it writes it.
func (b Backend) KeepsSessions(home string) bool {
	if b.Home != "" {
		return true
	}
	kind, _ := kinds.Find(b.Kind)
	return slices.ContainsFunc(b.Mounts, func(m Mount) bool {
		if kind.Keeps == "" { // any program: it is taken to be for that
			return !m.ReadOnly() && isWithin(m.To, home)
		}
		return !m.ReadOnly() && isWithin(filepath.Join(home, kind.Keeps), m.To)
	})
}

// checkInImages holds backends against the images of the configuration. One that isn't there
// may be in the store: that is looked at at the start.
func (l *loader) checkInImages() {
	for _, name := range slices.Sorted(maps.Keys(l.config.Backends)) {
		b := l.config.Backends[name]
		i, ok := l.config.Images[b.Image]
		if b.Image == "" || !ok {
			continue
		}
		for _, m := range b.Misfits(i.Home, i.Writable.Bytes) {
			key := "backends." + name + "." + m.Key
			l.problem(l.origins[key], key, m.Err)
		}
	}
}
