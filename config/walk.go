package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// walk visits each expression of the syntax tree.
func (d *document) walk() {
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
			d.problem(d.originOf(keys[0]), join(table),
				faultf(fmt.Sprintf("write [%s]", join(table)), "is not a list of tables"))
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
	d.named(path, d.originOf(keys[len(keys)-1]))
	return path, true
}

func (d *document) keyValue(table []string, e *unstable.Node) {
	keys := segments(e)
	path := append(slices.Clone(table), names(keys)...)
	v := e.Value()
	f, ok := d.schema.at(path)
	switch {
	case ok:
		got, err := f.fromTOML(d.lookup(path), d.whole())
		d.put(path, got, err, d.place(keys, v))
	case v.Kind == unstable.InlineTable && len(d.schema.below(path)) > 0:
		d.named(path, d.originOf(keys[len(keys)-1]))
		for it := v.Children(); it.Next(); {
			d.keyValue(path, it.Node())
		}
	case len(d.schema.below(path)) > 0:
		d.problem(d.place(keys, v), join(path), faultf(fmt.Sprintf("write [%s]", join(path)), "is a table, not a value"))
	default:
		d.unknownIn(table, keys, path)
	}
}

// unknownIn reports the first name of a path that leads nowhere.
func (d *document) unknownIn(table []string, keys []*unstable.Node, path []string) {
	for i := len(table); i < len(path); i++ {
		if _, leaf := d.schema.at(path[:i+1]); leaf {
			d.problem(d.originOf(keys[i-len(table)]), join(path[:i+1]), faultf("", "is a value, not a table"))
			return
		}
		if len(d.schema.below(path[:i+1])) == 0 {
			d.unknown(path[:i], keys[i-len(table)])
			return
		}
	}
}

// place is that of the value; a list or table has none of its own, and then its key's.
func (d *document) place(keys []*unstable.Node, v *unstable.Node) origin {
	if v.Raw.Length > 0 && v.Kind != unstable.InlineTable {
		return d.originOf(v)
	}
	return d.originOf(keys[len(keys)-1])
}

// unknown reports a name that may not follow parent, with what may be meant.
func (d *document) unknown(parent []string, n *unstable.Node) {
	name := string(n.Data)
	hint := didYouMean(name, d.schema.below(parent))
	if hint == "" {
		hint = d.schema.elsewhere(name)
	}
	d.problem(d.originOf(n), join(append(slices.Clone(parent), name)), faultf(hint, "unknown key"))
}

// elsewhere names the table in which a key is known.
func (s fields) elsewhere(name string) string {
	for _, f := range s {
		if table, ok := strings.CutSuffix(f.key, "."+name); ok {
			return fmt.Sprintf("it belongs in [%s]", strings.ReplaceAll(table, wildcard, "NAME"))
		}
	}
	return ""
}

func (d *document) lookup(path []string) any {
	var v any = d.values
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
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

func join(path []string) string { return strings.Join(path, ".") }
