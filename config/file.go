package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

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

// file reads the named file, or the first there is on the search path, and
// returns its path.
func (l *layers) file(named string, env map[string]string) string {
	paths := searchPath(env)
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
			l.problem(origin{file: path}, "", faultf("", "%s", cause(err)))
			return path
		}
		l.document(path, data)
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

// document takes a whole TOML text. The decoder gives the values, the syntax
// tree their places.
func (l *layers) document(path string, data []byte) {
	d := &document{layers: l, path: path, data: data, lines: strings.Split(string(data), "\n")}
	if err := toml.Unmarshal(data, &d.values); err != nil {
		l.broken = true
		at := origin{file: path}
		var de *toml.DecodeError
		if errors.As(err, &de) {
			line, col := de.Position()
			at = d.origin(line, col, 1)
		}
		l.problem(at, "", faultf("", "%s", strings.TrimPrefix(err.Error(), "toml: ")))
		return
	}
	d.parser.Reset(data)
	d.walk()
}

type document struct {
	*layers
	path   string
	data   []byte
	lines  []string
	values map[string]any
	parser unstable.Parser
}

func (d *document) origin(line, col, width int) origin {
	o := origin{file: d.path, line: line, col: col}
	if line < 1 || line > len(d.lines) {
		return o
	}
	text := strings.TrimRight(d.lines[line-1], "\r")
	if width < 1 || col-1+width > len(text) {
		width = max(1, len(text)-col+1)
	}
	// Tabs stay tabs, so that the caret stands below the place.
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, text[:min(col-1, len(text))])
	o.excerpt = "    " + text + "\n    " + indent + strings.Repeat("^", width)
	return o
}

func (d *document) originOf(n *unstable.Node) origin {
	shape := d.parser.Shape(n.Raw)
	return d.origin(shape.Start.Line, shape.Start.Column, int(n.Raw.Length))
}
