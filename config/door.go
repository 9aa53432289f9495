package config

// Door is where this host's daemon is, as far as its configuration tells.
type Door struct {
	File   string // that was read; "" when there is none
	Listen []string
}

// ReadDoor reads nothing but `listen`, for those who want to speak to the
// daemon: they may be other users, who can't read its tokens file, and what is
// wrong with the rest is none of their concern.
func ReadDoor(s Sources) (Door, error) {
	env := environment(s.Environ)
	l := newLayers(s.Host)
	l.defaults()
	file := l.file(s.File, env)
	l.environ(s.Environ)
	l.flags(s.Flags)
	if l.broken || l.bad["listen"] {
		return Door{}, l.problems
	}
	l.problems = nil
	b := builder{layers: l, env: env}
	d := Door{File: file, Listen: b.listen()}
	if len(l.problems) > 0 {
		return Door{}, l.problems
	}
	return d, nil
}
