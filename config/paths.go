package config

import (
	"os"
	"path/filepath"
	"strings"
)

// expand makes a path absolute: "~" is HOME, nothing is relative to wherever
// the daemon was started.
func (b *builder) expand(path string) (string, *fault) {
	if path == "~" || strings.HasPrefix(path, "~/") {
		home := b.env["HOME"]
		if !filepath.IsAbs(home) {
			return "", faultf("write an absolute path", "%q: HOME is not set", path)
		}
		return filepath.Join(home, path[1:]), nil
	}
	if strings.HasPrefix(path, "~") {
		return "", faultf("write the absolute path", "%q: only ~ and ~/... are expanded", path)
	}
	if !filepath.IsAbs(path) {
		return "", faultf("write an absolute path", "%q is not absolute", path)
	}
	return filepath.Clean(path), nil
}

// directory expands a path that must be a directory; "" stays "".
func (b *builder) directory(key string) string {
	path := value[string](b.layers, key)
	if path == "" {
		return ""
	}
	full, f := b.expand(path)
	if f == nil {
		f = isDirectory(full)
	}
	if f != nil {
		b.reject(key, f.hint, "%s", f.message)
	}
	return full
}

func isDirectory(path string) *fault {
	info, err := os.Stat(path)
	if err != nil {
		return faultf("", "%s: %s", path, cause(err))
	}
	if !info.IsDir() {
		return faultf("", "%s is not a directory", path)
	}
	return nil
}

// stateDir follows systemd, then the XDG base directories. It is made later.
func (b *builder) stateDir() string {
	const key = "state_dir"
	path := value[string](b.layers, key)
	switch {
	case path != "":
	case b.env["STATE_DIRECTORY"] != "":
		path = firstPath(b.env["STATE_DIRECTORY"])
	case b.env["XDG_STATE_HOME"] != "":
		path = filepath.Join(b.env["XDG_STATE_HOME"], "penstock")
	default:
		path = "~/.local/state/penstock"
	}
	full, f := b.expand(path)
	if f == nil {
		if info, err := os.Stat(full); err == nil && !info.IsDir() {
			f = faultf("", "%s is not a directory", full)
		}
	}
	if f != nil {
		b.reject(key, f.hint, "%s", f.message)
	}
	return full
}

func (b *builder) workspaceRoots() []string {
	const key = "workspace_roots"
	var roots []string
	for _, path := range value[[]string](b.layers, key) {
		full, f := b.expand(path)
		if f == nil {
			f = isDirectory(full)
		}
		if f != nil && b.written(key) {
			b.reject(key, f.hint, "%s", f.message)
		}
		if f == nil {
			roots = append(roots, full)
		}
	}
	return roots
}
