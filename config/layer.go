package config

// setting is one value and where it came from.
type setting struct {
	value any
	at    origin
}

// plain is the value, in bytes where it was written as a percentage.
func (s setting) plain() any {
	if sh, ok := s.value.(share); ok {
		return sh.bytes
	}
	return s.value
}

// layers collects settings: a later source overrides an earlier one.
type layers struct {
	schema   fields
	host     Host
	settings map[string]setting
	bad      map[string]bool   // keys whose value could not be read
	backends map[string]origin // by name, where first named
	clients  map[string]origin
	problems Problems
	broken   bool // a source could not be read at all: nothing beyond is worth checking
}

func newLayers(h Host) *layers {
	return &layers{
		schema: schema(), host: h, settings: map[string]setting{}, bad: map[string]bool{},
		backends: map[string]origin{}, clients: map[string]origin{},
	}
}

// whole is what a percentage is of, in bytes: the smaller of host and own group.
func (l *layers) whole() int64 {
	if g := l.host.GroupMemoryBytes; g > 0 && (g < l.host.MemoryBytes || l.host.MemoryBytes <= 0) {
		return g
	}
	return l.host.MemoryBytes
}

// put stores a converted value, or the problem with it.
func (l *layers) put(path []string, v any, f *fault, at origin) {
	key := join(path)
	if f != nil {
		l.bad[key] = true
		l.problem(at, key, f)
		return
	}
	delete(l.bad, key)
	l.settings[key] = setting{value: v, at: at}
	l.named(path, at)
}

// named remembers which backends and clients there are.
func (l *layers) named(path []string, at origin) {
	if len(path) < 2 {
		return
	}
	into := map[string]map[string]origin{"backends": l.backends, "clients": l.clients}[path[0]]
	if into == nil {
		return
	}
	if _, known := into[path[1]]; !known {
		into[path[1]] = at
	}
}

func (l *layers) problem(at origin, key string, f *fault) {
	l.problems = append(l.problems, at.problem(key, f))
}

// reject reports a value that was readable but can't be.
func (l *layers) reject(key, hint, format string, args ...any) {
	l.problem(l.settings[key].at, key, faultf(hint, format, args...))
}

// written is true when an operator wrote the key, rather than us.
func (l *layers) written(key string) bool {
	s, ok := l.settings[key]
	return ok && s.at.file != ""
}

func (l *layers) defaults() {
	for _, f := range l.schema {
		if f.def == "" {
			continue
		}
		v, err := f.fromText(f.def, l.whole())
		if err != nil {
			l.bad[f.key] = true
			l.problem(origin{}, f.key, err)
			continue
		}
		l.settings[f.key] = setting{value: v}
	}
}

// value is what holds for a key: its own, else the default of its field.
func value[T any](l *layers, key string) T {
	if s, ok := l.settings[key]; ok {
		if v, ok := s.plain().(T); ok {
			return v
		}
	}
	if f, _, ok := l.schema.dotted(key); ok {
		if v, ok := l.settings[f.key].plain().(T); ok {
			return v
		}
	}
	var none T
	return none
}
