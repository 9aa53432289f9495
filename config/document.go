package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"penstock/internal/hint"
)

// document is one TOML text. go-toml judges the whole of it and reads each value;
// its syntax tree tells where each is written. To decode it at one go, in strict
// mode, would end at the first value that is wrong (docs/adr/0013).
type document struct {
	*loader
	path   string
	lines  []string
	parser unstable.Parser
}

func (l *loader) readDocument(path string, data []byte) {
	d := &document{loader: l, path: path, lines: strings.Split(string(data), "\n")}
	var whole map[string]any
	if err := toml.Unmarshal(data, &whole); err != nil { // syntax, and what is written twice
		l.broken = true
		from := origin{file: path}
		var de *toml.DecodeError
		if errors.As(err, &de) {
			line, col := de.Position()
			from = d.origin(line, col, 1)
		}
		l.problem(from, "", errors.New(strings.TrimPrefix(err.Error(), "toml: ")))
		return
	}
	d.parser.Reset(data)
	var table []string
	known := true
	for d.parser.NextExpression() {
		e := d.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			table, known = d.table(e)
		case unstable.ArrayTable:
			keys := segments(e)
			table, known = names(keys), false
			remedy := "write [" + join(table) + "]"
			if k, ok := d.schema.at(table); ok && k.Type == "mounts" {
				remedy = "write mounts = [ " + mountForm + " ]"
			}
			d.problem(d.originOf(keys[0]), join(table), hint.Errorf(remedy, "is not a list of tables"))
		case unstable.KeyValue:
			if known {
				d.keyValue(table, e)
			}
		}
	}
}

// table checks a header; a known one that names a backend configures it, even when empty.
func (d *document) table(e *unstable.Node) ([]string, bool) {
	keys := segments(e)
	path := names(keys)
	for i := range path {
		if len(d.schema.below(path[:i+1])) == 0 {
			d.unknown(path[:i], keys[i])
			return path, false
		}
	}
	d.noteName(path, d.originOf(keys[len(keys)-1]))
	return path, true
}

func (d *document) keyValue(table []string, e *unstable.Node) {
	keys := segments(e)
	path := append(slices.Clone(table), names(keys)...)
	v := e.Value()
	k, ok := d.schema.at(path)
	switch {
	case ok:
		d.value(path, k, d.place(keys, v), e, v)
	case v.Kind == unstable.InlineTable && len(d.schema.below(path)) > 0:
		d.noteName(path, d.originOf(keys[len(keys)-1]))
		for it := v.Children(); it.Next(); {
			d.keyValue(path, it.Node())
		}
	case len(d.schema.below(path)) > 0:
		d.problem(d.place(keys, v), join(path), hint.Errorf("write ["+join(path)+"]", "is a table, not a value"))
	default:
		d.unknownIn(table, keys, path)
	}
}

// value takes one key's value. A list of one may be a string, and what is written
// as text may be a number where its type takes one.
func (d *document) value(path []string, k Key, from origin, e, v *unstable.Node) {
	_, literal, _ := strings.Cut(string(d.parser.Raw(d.afterKey(e))), "=")
	isText := reflect.PointerTo(k.typ).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch {
	case v.Kind == unstable.String && k.typ.Kind() == reflect.Slice && k.Type != "mounts":
		literal = "[" + literal + "]"
	case v.Kind == unstable.Integer && isText:
		var n struct{ V int64 }
		if toml.Unmarshal([]byte("V = "+literal), &n) == nil {
			literal = quote(strconv.FormatInt(n.V, 10))
		}
		if n.V == 0 && k.typ == reflect.TypeFor[Duration]() { // "0" is a duration, the number is none
			d.bad[join(path)] = true
			d.problem(from, join(path), errNoUnit("0"))
			return
		}
	case v.Kind != k.kind(isText):
		d.bad[join(path)] = true
		d.problem(from, join(path), hint.Errorf("", "want %s, not %s", k.wants(), describe(v)))
		return
	}
	want, article := unstable.String, "a string"
	if k.Type == "mounts" {
		want, article = unstable.InlineTable, mountForm
	}
	if n := otherThan(want, v); n > 0 && v.Kind == unstable.Array {
		d.bad[join(path)] = true
		d.problem(from, join(path), hint.Errorf("", "element %d: want %s, not %s", n, article, describe(element(v, n))))
		return
	}
	d.set(path, k, literal, from)
}

// kind is that of the key's values in TOML.
func (k Key) kind(isText bool) unstable.Kind {
	switch {
	case isText || k.typ.Kind() == reflect.String:
		return unstable.String
	case k.typ.Kind() == reflect.Slice:
		return unstable.Array
	case k.typ.Kind() == reflect.Bool:
		return unstable.Bool
	}
	return unstable.Integer
}

// afterKey is the part of a key-value expression behind its key.
func (d *document) afterKey(e *unstable.Node) unstable.Range {
	keys := segments(e)
	last := keys[len(keys)-1].Raw
	end := last.Offset + last.Length
	return unstable.Range{Offset: end, Length: e.Raw.Offset + e.Raw.Length - end}
}

// otherThan is the number of the first element of another kind, counted from 1; 0 is none.
func otherThan(want unstable.Kind, list *unstable.Node) int {
	n := 0
	for it := list.Children(); it.Next(); {
		if n++; it.Node().Kind != want {
			return n
		}
	}
	return 0
}

func element(list *unstable.Node, n int) *unstable.Node {
	it := list.Children()
	for range n {
		it.Next()
	}
	return it.Node()
}

func describe(v *unstable.Node) string {
	switch v.Kind {
	case unstable.String:
		return fmt.Sprintf("the string %q", v.Data)
	case unstable.Integer, unstable.Float, unstable.Bool:
		return string(v.Data)
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}

// unknownIn reports the first name of a path that leads nowhere.
func (d *document) unknownIn(table []string, keys []*unstable.Node, path []string) {
	for i := len(table); i < len(path); i++ {
		if _, leaf := d.schema.at(path[:i+1]); leaf {
			d.problem(d.originOf(keys[i-len(table)]), join(path[:i+1]), errors.New("is a value, not a table"))
			return
		}
		if len(d.schema.below(path[:i+1])) == 0 {
			d.unknown(path[:i], keys[i-len(table)])
			return
		}
	}
}

// unknown reports a name that may not follow parent, with what may be meant.
func (d *document) unknown(parent []string, n *unstable.Node) {
	name := string(n.Data)
	remedy := suggest(name, d.schema.below(parent))
	if remedy == "" {
		remedy = d.schema.elsewhere(name)
	}
	d.problem(d.originOf(n), join(append(slices.Clone(parent), name)), hint.Errorf(remedy, "unknown key"))
}

// place is that of the value; a list or table has none of its own, and then its key's.
func (d *document) place(keys []*unstable.Node, v *unstable.Node) origin {
	if v.Raw.Length > 0 && v.Kind != unstable.InlineTable && v.Kind != unstable.Array {
		return d.originOf(v)
	}
	return d.originOf(keys[len(keys)-1])
}

func (d *document) originOf(n *unstable.Node) origin {
	shape := d.parser.Shape(n.Raw)
	return d.origin(shape.Start.Line, shape.Start.Column, int(n.Raw.Length))
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

func segments(e *unstable.Node) []*unstable.Node {
	var keys []*unstable.Node
	for it := e.Key(); it.Next(); {
		keys = append(keys, it.Node())
	}
	return keys
}

func names(keys []*unstable.Node) []string {
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		out = append(out, string(k.Data))
	}
	return out
}
