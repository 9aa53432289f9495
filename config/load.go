package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"penstock/internal/bytesize"
	"penstock/internal/hint"
	"penstock/internal/procinfo"
)

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

// ReadHost reads the facts of this machine (/proc/meminfo: MemTotal). The limit of
// our own group is not among them: what knows groups adds it.
func ReadHost() (Host, error) {
	h := Host{UID: os.Geteuid()}
	exe, err := os.Executable()
	if err != nil {
		return h, fmt.Errorf("find own program: %w", err)
	}
	h.Executable = exe
	m, err := procinfo.Host.Memory()
	if err != nil {
		return h, err
	}
	if m.Total != nil {
		h.MemoryBytes = int64(min(*m.Total, bytesize.Max))
	}
	return h, nil
}

// whole is what a percentage is of, in bytes: the smaller of host and own group.
func (h Host) whole() int64 {
	if g := h.GroupMemoryBytes; g > 0 && (g < h.MemoryBytes || h.MemoryBytes <= 0) {
		return g
	}
	return h.MemoryBytes
}

// Load reads and validates everything before anything starts. The error is
// Problems: every problem at once, each with its place and, where there is
// one, a hint. The Config is only usable when the error is nil.
func Load(s Sources) (Config, error) {
	l := read(s)
	if l.broken {
		return Config{}, l.problems
	}
	l.validate()
	if len(l.problems) > 0 {
		return Config{}, l.problems
	}
	return l.config, nil
}

// Listen is where this host's daemon is, as far as its configuration tells.
type Listen struct {
	File      string // that was read; "" when there is none
	Addresses []string
}

// ReadListen reads nothing but `listen`, for what wants to speak to the daemon: it
// may be another user's, who can't read its tokens file, and what is wrong with the
// rest is none of its concern.
func ReadListen(s Sources) (Listen, error) {
	l := read(s)
	if l.broken || l.bad["listen"] {
		return Listen{}, l.problems
	}
	l.problems = nil
	found := Listen{File: l.config.File, Addresses: l.listen()}
	if len(l.problems) > 0 {
		return Listen{}, l.problems
	}
	return found, nil
}

// loader collects one configuration from its sources.
type loader struct {
	schema   schema
	host     Host
	env      map[string]string
	config   Config
	origins  map[string]origin // where a value was written; defaults have none
	bad      map[string]bool   // keys whose value could not be read
	backends map[string]origin // by name, where first named
	clients  map[string]origin
	images   map[string]origin
	problems Problems
	broken   bool // a source could not be read at all: nothing beyond is worth checking
}

func read(s Sources) *loader {
	l := newLoader(s.Host)
	l.env = environment(s.Environ)
	l.config.File = l.readFile(s.File)
	l.readEnviron(s.Environ)
	l.readFlags(s.Flags)
	return l
}

// newLoader has the defaults.
func newLoader(h Host) *loader {
	l := &loader{
		schema: AllKeys(), host: h, origins: map[string]origin{}, bad: map[string]bool{},
		backends: map[string]origin{}, clients: map[string]origin{}, images: map[string]origin{},
	}
	for _, k := range l.schema {
		if k.Default != "" && !strings.Contains(k.Name, wildcard) {
			l.set(strings.Split(k.Name, "."), k, k.Literal(k.Default), origin{})
		}
	}
	return l
}

// set stores a TOML literal, or the problem with it.
func (l *loader) set(path []string, k Key, literal string, from origin) {
	key := join(path)
	v, err := k.decode(literal)
	if size, ok := v.Addr().Interface().(*Size); ok && err == nil {
		err = size.resolve(l.host.whole())
		if key != "budget.memory" { // alone it follows what it is a share of
			size.Percent = 0
		}
		switch path[len(path)-1] {
		case "memory_high": // of which 0 is none
			size.zero = false
		case "writable": // of which none is the default, and 0 is wrong
		default:
			size.zero = size.Bytes == 0
		}
	}
	if err != nil {
		l.bad[key] = true
		l.problem(from, key, err)
		return
	}
	l.noteName(path, from)
	locate(reflect.ValueOf(&l.config).Elem(), path, func(dst reflect.Value) { dst.Set(v) })
	delete(l.bad, key)
	if from.file != "" {
		l.origins[key] = from
	}
}

// decode has go-toml read one value, so that each problem of a file is found.
func (k Key) decode(literal string) (reflect.Value, error) {
	typ := k.typ
	if k.Type == "number" { // what is negative is told by check, whatever Go's type
		typ = reflect.TypeFor[int64]()
	}
	into := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "V", Type: typ, Tag: `toml:"v"`}}))
	v, out := into.Elem().Field(0), reflect.New(k.typ).Elem()
	if err := toml.NewDecoder(strings.NewReader("v = " + literal)).DisallowUnknownFields().Decode(into.Interface()); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			err = unknownPart(strict)
		}
		message, remedy := hint.Split(strings.TrimPrefix(err.Error(), "toml: "))
		return out, hint.Errorf(remedy, "%s", message)
	}
	out.Set(v.Convert(k.typ))
	return out, k.check(v)
}

// check holds what is wrong with a value whatever the others are.
func (k Key) check(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		if len(k.OneOf) > 0 && !slices.Contains(k.OneOf, v.String()) {
			return hint.Errorf("one of "+strings.Join(k.OneOf, ", "), "%q is not known", v.String())
		}
		if strings.ContainsRune(v.String(), 0) {
			return hint.Errorf("", "holds a NUL byte")
		}
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			return hint.Errorf("", "%d is negative", v.Int())
		}
		if v.Int() > 1<<31-1 {
			return hint.Errorf("", "%d is too large", v.Int())
		}
	}
	return nil
}

// noteName remembers which backends, clients and images there are; a new one begins with
// its defaults.
func (l *loader) noteName(path []string, from origin) {
	if len(path) < 2 {
		return
	}
	known := map[string]map[string]origin{"backends": l.backends, "clients": l.clients, "images": l.images}[path[0]]
	if known == nil {
		return
	}
	if _, there := known[path[1]]; !there {
		known[path[1]] = from
		l.addDefaults(path[0], path[1])
	}
}

// addDefaults puts a client, a backend or an image in its table as it is where nothing is written.
func (l *loader) addDefaults(table, name string) {
	for _, k := range l.schema {
		key, ok := strings.CutPrefix(k.Name, table+"."+wildcard+".")
		if !ok || k.Default == "" {
			continue
		}
		if v, err := k.decode(k.Literal(k.Default)); err == nil {
			locate(reflect.ValueOf(&l.config).Elem(), append([]string{table, name}, strings.Split(key, ".")...), func(dst reflect.Value) { dst.Set(v) })
		}
	}
}

// problem takes the hint out of an error that has one.
func (l *loader) problem(from origin, key string, err error) {
	l.problems = append(l.problems, from.problem(key, err))
}

// fail reports a value that was readable but can't be.
func (l *loader) fail(key, remedy, format string, args ...any) {
	l.problem(l.origins[key], key, hint.Errorf(remedy, format, args...))
}

// isExplicit is true when an operator wrote the key, rather than us.
func (l *loader) isExplicit(key string) bool { return l.origins[key].file != "" }
