package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// backendTable builds [backends.*], the known six and demo.
func (b *builder) backendTable(c Config) map[string]Backend {
	names := slices.Concat(Known(), []string{"demo"}, slices.Collect(maps.Keys(b.backends)))
	table := make(map[string]Backend, len(names))
	for _, name := range names {
		if _, done := table[name]; !done {
			table[name] = b.backend(name, c)
		}
	}
	return table
}

func (b *builder) backend(name string, c Config) Backend {
	prefix := "backends." + name + "."
	where, configured := b.backends[name]
	if f := checkBackendName(name); f != nil {
		b.problem(where, "backends."+name, f)
	}
	be := Backend{
		Name:         name,
		Kind:         b.kindOf(name),
		DefaultModel: value[string](b.layers, prefix+"default_model"),
		Models:       value[[]string](b.layers, prefix+"models"),
		Aliases:      value[[]string](b.layers, prefix+"aliases"),
		Env:          b.envNames(prefix + "env"),
		SetEnv:       b.setEnv(prefix + "set_env."),
		ExtraArgs:    value[[]string](b.layers, prefix+"extra_args"),
		Permissions:  value[string](b.layers, prefix+"permissions"),
		Home:         b.home(prefix),
		HomeSeed:     b.homeSeed(prefix),
		Cwd:          b.directory(prefix + "cwd"),
		User:         b.user(prefix + "user"),
		Limits:       b.limits("backends."+name+".limits", c.Budget),
		Configured:   configured,
	}
	b.resolve(&be, prefix)
	return be
}

// kindOf is the configured kind, else the name of a known backend.
func (b *builder) kindOf(name string) string {
	key := "backends." + name + ".kind"
	kind := value[string](b.layers, key)
	known := slices.Contains(append(Known(), "demo"), name)
	switch {
	case kind == "" && known:
		return name
	case b.bad[key]:
		return ""
	case kind == "":
		hint := "exec, jsonl or acp"
		if near := didYouMean(name, Known()); near != "" {
			hint = near
		}
		b.problem(b.backends[name], "backends."+name, faultf(hint, "has no kind"))
		return ""
	case !slices.Contains(Kinds(), kind):
		hint := didYouMean(kind, Kinds())
		if hint == "" {
			hint = "one of " + strings.Join(Kinds(), ", ")
		}
		b.reject(key, hint, "%q is not known", kind)
	case known && kind != name:
		b.reject(key, "give it a name of its own", "%s is always of kind %s", name, name)
	}
	return kind
}

func checkBackendName(name string) *fault {
	if why, reserved := reservedNames()[name]; reserved {
		return faultf("choose another name", "%q is reserved: %s", name, why)
	}
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`).MatchString(name) {
		return faultf("small letters, digits, dash and underscore, at most 64", "%q can't be a backend's name", name)
	}
	return nil
}

// checkAliases: a name stands for one backend. What may be one is wider than a
// backend's name, for clients that know only the names of models.
func (b *builder) checkAliases(table map[string]Backend) {
	taken := map[string]string{}
	for name := range table {
		taken[name] = name
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key := "backends." + name + ".aliases"
		for _, alias := range table[name].Aliases {
			owner, clash := taken[alias]
			why, reserved := reservedNames()[alias]
			switch {
			case reserved:
				b.reject(key, "choose another name", "%q is reserved: %s", alias, why)
			case clash:
				b.reject(key, "choose another name", "%q is a name of backend %s", alias, owner)
			case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`).MatchString(alias):
				b.reject(key, "letters, digits and . _ : -, at most 64", "%q can't be a name", alias)
			default:
				taken[alias] = name
			}
		}
	}
}

// envNames takes NAME and PREFIX_*: what is passed on is named, never valued.
func (b *builder) envNames(key string) []string {
	given := value[[]string](b.layers, key)
	for _, name := range given {
		plain := strings.TrimSuffix(name, "*")
		switch {
		case strings.Contains(name, "="):
			b.reject(key, "values go into set_env", "%q is not a name", strings.SplitN(name, "=", 2)[0]+"=...")
		case !isEnvName(plain):
			b.reject(key, "", "%q is not a name", name)
		case strings.HasPrefix(plain, envPrefix):
			b.reject(key, "", "%q is the daemon's own and is never passed on", name)
		}
	}
	return given
}

func (b *builder) setEnv(prefix string) map[string]string {
	var set map[string]string
	for _, key := range slices.Sorted(maps.Keys(b.settings)) {
		name, ok := strings.CutPrefix(key, prefix)
		if !ok || name == wildcard {
			continue
		}
		if !isEnvName(name) {
			b.reject(key, "", "%q is not a name", name)
		}
		if set == nil {
			set = map[string]string{}
		}
		set[name] = value[string](b.layers, key)
	}
	return set
}

func isEnvName(name string) bool {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name)
}
