package config

import (
	"slices"
	"strings"
)

const envPrefix = "PENSTOCK_"

// ClientVariables tell the subcommands for people where the daemon is and who
// asks. They are no settings.
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

// environ takes PENSTOCK_* variables: the dotted key in capitals, dots as
// underscores. An unknown one is an error, or a typing error would be silence.
func (l *layers) environ(environ []string) {
	for _, e := range slices.Sorted(slices.Values(environ)) {
		variable, v, ok := strings.Cut(e, "=")
		name, ours := strings.CutPrefix(variable, envPrefix)
		if !ok || !ours || slices.Contains(ClientVariables(), variable) {
			continue
		}
		at := origin{file: "environment", name: variable}
		f, path, known := l.variable(name)
		if !known {
			l.problem(at, "", faultf(didYouMean(variable, variables()), "unknown variable"))
			continue
		}
		got, err := f.fromText(v, l.whole())
		l.put(path, got, err, at)
	}
}

// variable finds the field of a variable's name, less the prefix.
func (l *layers) variable(name string) (field, []string, bool) {
	for _, f := range l.schema {
		if captured, ok := capture(envName(f.key), name); ok {
			return f, fill(f.key, l.spelled(f.key, captured)), true
		}
	}
	return field{}, nil, false
}

// spelled gives captured names back their case and dashes: the ones the file
// has, where they fit. A variable to set keeps its own spelling.
func (l *layers) spelled(key string, captured []string) []string {
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
