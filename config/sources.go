package config

// Sources are all the places a configuration comes from; a later one wins:
// defaults, file, environment, flags.
type Sources struct {
	File    string // path; must exist. "" looks in the usual places, where none need exist
	Environ []string
	Flags   map[string]string // dotted key -> value, as in PENSTOCK_*
	Host    Host
}

// Host is what Load must know of the machine; it is given, so that Load
// depends on nothing else. See ReadHost.
type Host struct {
	MemoryBytes      int64  // of the whole machine; 0 is unknown, and then percentages are errors
	GroupMemoryBytes int64  // limit of the group we were started in; 0 is none
	UID              int    // effective user id of the daemon
	Executable       string // the daemon's own program, for the demo backend; "" leaves demo missing
}

// Load reads and validates everything before anything starts. The error is
// Problems: every problem at once, each with its place and, where there is
// one, a hint. The Config is only usable when the error is nil.
func Load(s Sources) (Config, error) {
	env := environment(s.Environ)
	l := newLayers(s.Host)
	l.defaults()
	file := l.file(s.File, env)
	l.environ(s.Environ)
	l.flags(s.Flags)
	if l.broken {
		return Config{}, l.problems
	}
	b := builder{layers: l, env: env}
	c := b.config()
	c.File = file
	if len(l.problems) > 0 {
		return Config{}, l.problems
	}
	return c, nil
}
