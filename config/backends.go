package config

import (
	"cmp"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"penstock/backend/kinds"
	"penstock/internal/hint"
)

// finishBackends completes [backends.*], with the known ones and demo beside them.
// def is what their limits are where they have none of their own.
func (l *loader) finishBackends(def Limits) {
	names := slices.Concat(Known(), []string{"demo"})
	for _, name := range names {
		if _, there := l.config.Backends[name]; !there {
			l.addDefaults("backends", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.config.Backends)) {
		l.config.Backends[name] = l.backend(name, l.config.Backends[name], def)
	}
}

func (l *loader) backend(name string, be Backend, def Limits) Backend {
	prefix := "backends." + name + "."
	where, configured := l.backends[name]
	if f := checkBackendName(name); f != nil {
		l.problem(where, "backends."+name, f)
	}
	be.Name, be.Configured = name, configured
	be.Kind = l.kindOf(name, be.Kind)
	l.checkEnv(prefix+"env", be.Env)
	l.checkSetEnv(prefix+"set_env.", be.SetEnv)
	be.HomeSeed = l.homeSeed(prefix, be.HomeSeed, be.Home)
	be.Home = l.home(prefix, be.Home)
	be.Cwd = l.directory(prefix+"cwd", be.Cwd)
	l.checkUser(prefix+"user", be.User)
	be.Mounts = l.mounts(prefix, be)
	be.Limits = l.limits("backends."+name+".limits", l.inherited(name, be.Limits, def))
	l.resolve(&be, prefix)
	return be
}

// inherited puts the whole configuration's limits where a backend has none.
func (l *loader) inherited(name string, own, def Limits) Limits {
	into, from := reflect.ValueOf(&own).Elem(), reflect.ValueOf(def)
	for f := range fieldsOf(into.Type()) {
		if !l.isExplicit("backends." + name + ".limits." + f.name) {
			into.FieldByIndex(f.Index).Set(from.FieldByIndex(f.Index))
		}
	}
	return own
}

// kindOf is the configured kind, else the name of a known backend.
func (l *loader) kindOf(name, kind string) string {
	key := "backends." + name + ".kind"
	known := slices.Contains(append(Known(), "demo"), name)
	switch {
	case kind == "" && known:
		return name
	case l.bad[key]:
		return ""
	case kind == "":
		remedy := cmp.Or(suggest(name, Known()), "exec, jsonl or acp")
		l.problem(l.backends[name], "backends."+name, hint.Errorf(remedy, "has no kind"))
		return ""
	case !slices.Contains(Kinds(), kind):
		l.fail(key, cmp.Or(suggest(kind, Kinds()), "one of "+strings.Join(Kinds(), ", ")), "%q is not known", kind)
	case known && kind != name:
		l.fail(key, "give it a name of its own", "%s is always of kind %s", name, name)
	}
	return kind
}

func checkBackendName(name string) *hint.Error {
	if why, reserved := reservedNames()[name]; reserved {
		return hint.Errorf("choose another name", "%q is reserved: %s", name, why)
	}
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`).MatchString(name) {
		return hint.Errorf("small letters, digits, dash and underscore, at most 64", "%q can't be a backend's name", name)
	}
	return nil
}

// checkAliases: a name stands for one backend. What may be one is wider than a
// backend's name, for clients that know only the names of models.
func (l *loader) checkAliases(table map[string]Backend) {
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
				l.fail(key, "choose another name", "%q is reserved: %s", alias, why)
			case clash:
				l.fail(key, "choose another name", "%q is a name of backend %s", alias, owner)
			case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`).MatchString(alias):
				l.fail(key, "letters, digits and . _ : -, at most 64", "%q can't be a name", alias)
			default:
				taken[alias] = name
			}
		}
	}
}

// checkEnv takes NAME and PREFIX_*: what is passed on is named, never valued.
func (l *loader) checkEnv(key string, given []string) {
	for _, name := range given {
		plain := strings.TrimSuffix(name, "*")
		switch {
		case strings.Contains(name, "="):
			l.fail(key, "values go into set_env", "%q is not a name", strings.SplitN(name, "=", 2)[0]+"=...")
		case !isEnvName(plain):
			l.fail(key, "", "%q is not a name", name)
		case strings.HasPrefix(plain, envPrefix):
			l.fail(key, "", "%q is the daemon's own and is never passed on", name)
		}
	}
}

func (l *loader) checkSetEnv(prefix string, set map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !isEnvName(name) {
			l.fail(prefix+name, "", "%q is not a name", name)
		}
	}
}

func isEnvName(name string) bool {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name)
}

// Kinds of backend: the known command lines first, then those for any program.
func Kinds() []string {
	var names []string
	for _, kind := range kinds.All() {
		names = append(names, kind.Name)
	}
	return names
}

// Known are the backends that are there without configuration; each is its own kind.
func Known() []string {
	return slices.Sorted(maps.Keys(programs()))
}

// programs is what each known backend is called on PATH.
func programs() map[string]string {
	known := map[string]string{}
	for _, kind := range kinds.All() {
		if kind.Program != "" {
			known[kind.Name] = kind.Program
		}
	}
	return known
}

// reservedNames can't be backends: a request's model could not tell them apart.
func reservedNames() map[string]string {
	names := map[string]string{"bridge": `a leading "bridge/" of a model is dropped`}
	for _, kind := range kinds.All() {
		if kind.Alias != "" {
			names[kind.Alias] = "it is an alias of " + kind.Name
		}
	}
	return names
}
