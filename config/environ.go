package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"penstock/internal/hint"
)

const envPrefix = "PENSTOCK_"

// ClientVariables tell the subcommands for people where the daemon is and
// which client asks. They are no settings.
func ClientVariables() []string {
	return []string{"PENSTOCK_URL", "PENSTOCK_TOKEN_FILE", "PENSTOCK_TOKEN"}
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, e := range environ {
		if name, v, ok := strings.Cut(e, "="); ok {
			env[name] = v
		}
	}
	return env
}

// readEnviron takes PENSTOCK_* variables: the dotted key in capitals, dots as
// underscores. An unknown one is an error, or a typing error would be silence.
func (l *loader) readEnviron(environ []string) {
	for _, e := range slices.Sorted(slices.Values(environ)) {
		variable, v, ok := strings.Cut(e, "=")
		name, ours := strings.CutPrefix(variable, envPrefix)
		if !ok || !ours || slices.Contains(ClientVariables(), variable) {
			continue
		}
		from := origin{file: "environment", name: variable}
		k, path, known := l.variable(name)
		if !known {
			l.problem(from, "", hint.Errorf(suggest(variable, variables()), "unknown variable"))
			continue
		}
		l.setText(path, k, v, from)
	}
}

// readFlags takes dotted keys from the command line.
func (l *loader) readFlags(given map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		from := origin{file: "flags", name: name}
		k, captured, known := l.schema.dotted(name)
		if !known {
			var all []string
			for _, k := range l.schema {
				all = append(all, k.Name)
			}
			l.problem(from, "", hint.Errorf(suggest(name, all), "unknown key"))
			continue
		}
		l.setText(fill(k.Name, captured), k, given[name], from)
	}
}

// setText takes what an environment variable or a flag says: lists are separated
// by commas, a command's words by blanks.
func (l *loader) setText(path []string, k Key, text string, from origin) {
	var err error
	switch k.Type {
	case "number":
		var n int64
		if n, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64); err != nil {
			err = hint.Errorf("", "%q is not a whole number", text)
		}
		text = strconv.FormatInt(n, 10)
	case "boolean":
		var b bool
		if b, err = strconv.ParseBool(strings.TrimSpace(text)); err != nil {
			err = hint.Errorf("write true or false", "%q is not a truth value", text)
		}
		text = strconv.FormatBool(b)
	}
	if err != nil {
		l.bad[join(path)] = true
		l.problem(from, join(path), err)
		return
	}
	l.set(path, k, k.Literal(text), from)
}

// quote writes a TOML string.
func quote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '"' || r == '\\' || r == utf8.RuneError || unicode.IsControl(r) }) {
		return `"` + s + `"`
	}
	text, err := toml.Marshal(struct{ V string }{s})
	if err != nil {
		return `""`
	}
	return strings.TrimSpace(strings.TrimPrefix(string(text), "V = "))
}

// variable finds the key of a variable's name, less the prefix.
func (l *loader) variable(name string) (Key, []string, bool) {
	for _, k := range l.schema {
		if captured, ok := capture(envName(k.Name), name); ok {
			return k, fill(k.Name, l.spelled(k.Name, captured)), true
		}
	}
	return Key{}, nil, false
}

// spelled gives captured names back their case and dashes: the ones the file
// has, where they fit. A variable to set keeps its own spelling.
func (l *loader) spelled(key string, captured []string) []string {
	known := l.backends
	if strings.HasPrefix(key, "clients.") {
		known = l.clients
	}
	out := slices.Clone(captured)
	if len(out) == 0 {
		return out
	}
	out[0] = strings.ToLower(captured[0])
	for name := range known {
		if envName(name) == captured[0] {
			out[0] = name
		}
	}
	return out
}

// fill puts names in the place of a pattern's "*".
func fill(key string, captured []string) []string {
	path := strings.Split(key, ".")
	for i := range path {
		if path[i] == wildcard && len(captured) > 0 {
			path[i], captured = captured[0], captured[1:]
		}
	}
	return path
}

func envName(key string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

func variables() []string {
	var names []string
	for _, k := range Keys() {
		names = append(names, envPrefix+envName(k.Name))
	}
	return names
}
