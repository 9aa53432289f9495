package config

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"penstock/internal/hint"
)

// expand makes a path absolute: "~" is HOME, nothing is relative to wherever
// the daemon was started.
func (l *loader) expand(path string) (string, *hint.Error) {
	if path == "~" || strings.HasPrefix(path, "~/") {
		home := l.env["HOME"]
		if !filepath.IsAbs(home) {
			return "", hint.Errorf("write an absolute path", "%q: HOME is not set", path)
		}
		return filepath.Join(home, path[1:]), nil
	}
	if strings.HasPrefix(path, "~") {
		return "", hint.Errorf("write the absolute path", "%q: only ~ and ~/... are expanded", path)
	}
	if !filepath.IsAbs(path) {
		return "", hint.Errorf("write an absolute path", "%q is not absolute", path)
	}
	return filepath.Clean(path), nil
}

// directory expands a path that must be a directory; "" stays "".
func (l *loader) directory(key, path string) string {
	if path == "" {
		return ""
	}
	full, f := l.expand(path)
	if f == nil {
		f = isDirectory(full)
	}
	if f != nil {
		l.fail(key, f.Hint, "%s", f.Message())
	}
	return full
}

func isDirectory(path string) *hint.Error {
	info, err := os.Stat(path)
	if err != nil {
		return hint.Errorf("", "%s: %s", path, cause(err))
	}
	if !info.IsDir() {
		return hint.Errorf("", "%s is not a directory", path)
	}
	return nil
}

// stateDir follows systemd, then the XDG base directories. It is made later.
func (l *loader) stateDir() string {
	const key = "state_dir"
	path := l.config.StateDir
	switch {
	case path != "":
	case l.env["STATE_DIRECTORY"] != "":
		path = firstPath(l.env["STATE_DIRECTORY"])
	case l.env["XDG_STATE_HOME"] != "":
		path = filepath.Join(l.env["XDG_STATE_HOME"], "penstock")
	default:
		path = "~/.local/state/penstock"
	}
	full, f := l.expand(path)
	if f == nil {
		if info, err := os.Stat(full); err == nil && !info.IsDir() {
			f = hint.Errorf("", "%s is not a directory", full)
		}
	}
	if f != nil {
		l.fail(key, f.Hint, "%s", f.Message())
	}
	return full
}

func (l *loader) workspaceRoots() []string {
	const key = "workspace_roots"
	var roots []string
	for _, path := range l.config.WorkspaceRoots {
		full, f := l.expand(path)
		if f == nil {
			f = isDirectory(full)
		}
		if f != nil && l.isExplicit(key) {
			l.fail(key, f.Hint, "%s", f.Message())
		}
		if f == nil {
			roots = append(roots, full)
		}
	}
	return roots
}

const privateHome = "private"

// home is "", "private" or a directory that exists.
func (l *loader) home(prefix, home string) string {
	if home == privateHome {
		return home
	}
	return l.directory(prefix+"home", home)
}

func (l *loader) homeSeed(prefix, seed, home string) string {
	key := prefix + "home_seed"
	seed = l.directory(key, seed)
	if seed != "" && home != privateHome {
		l.fail(key, `write home = "private"`, "only a private home can be seeded")
	}
	return seed
}

// checkUser: the user must exist, and only root can become another.
func (l *loader) checkUser(key, name string) {
	if name == "" {
		return
	}
	if _, err := user.Lookup(name); err != nil {
		var unknown user.UnknownUserError
		if errors.As(err, &unknown) {
			l.fail(key, "useradd --system "+name, "there is no user %q", name)
		} else {
			l.fail(key, "", "look up user %q: %s", name, err)
		}
	}
	if l.host.UID != 0 {
		l.fail(key, "start the daemon as root, or leave user out", "only root can run a backend as %q", name)
	}
}

const fileName = "penstock.toml"

// searchPath is where a file is looked for when none is named, in this order.
func searchPath(env map[string]string) []string {
	var paths []string
	if dir := firstPath(env["CONFIGURATION_DIRECTORY"]); dir != "" {
		paths = append(paths, filepath.Join(dir, fileName))
	}
	paths = append(paths, "/etc/penstock/"+fileName)
	switch {
	case env["XDG_CONFIG_HOME"] != "":
		paths = append(paths, filepath.Join(env["XDG_CONFIG_HOME"], "penstock", fileName))
	case env["HOME"] != "":
		paths = append(paths, filepath.Join(env["HOME"], ".config", "penstock", fileName))
	}
	return paths
}

// firstPath is the first of a colon-separated list, as systemd sets it.
func firstPath(list string) string {
	first, _, _ := strings.Cut(list, ":")
	return first
}

// readFile reads the named file, or the first there is on the search path, and
// returns its path.
func (l *loader) readFile(named string) string {
	paths := searchPath(l.env)
	if named != "" {
		paths = []string{named}
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err != nil {
			l.broken = true
			l.problem(origin{file: path}, "", cause(err))
			return path
		}
		l.readDocument(path, data)
		return path
	}
	return ""
}

// cause drops the operation and path that the problem's place already tells.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
