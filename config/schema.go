package config

import (
	"encoding"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// wildcard in a key stands for the name of a client, a backend, an image or a variable.
const wildcard = "*"

// Key is one setting, for command line flags, completion and the manual.
type Key struct {
	// Name is the dotted key; a "*" in it stands for the name of a client, a
	// backend, an image or an environment variable.
	Name    string
	Type    string // one word: string, list, command, mounts, size, duration, cores, number or boolean
	Default string // as an environment variable or a flag would have it; empty is none
	Help    string
	OneOf   []string // the only values, where not every one of the type will do

	typ reflect.Type
}

// Keys are the settings whose name holds no name of an operator's.
func Keys() []Key {
	return slices.DeleteFunc(AllKeys(), func(k Key) bool { return strings.Contains(k.Name, wildcard) })
}

// AllKeys is every setting there is, in the order in which it is shown.
func AllKeys() []Key { return keysOf(reflect.TypeFor[Config](), "") }

// keysOf reads the tags of a struct and of those in it.
func keysOf(t reflect.Type, prefix string) []Key {
	var all []Key
	for f := range fieldsOf(t) {
		key := prefix + f.name
		switch {
		case f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct:
			all = append(all, keysOf(f.Type.Elem(), key+"."+wildcard+".")...)
		case f.Type.Kind() == reflect.Map:
			all = append(all, keyOf(f, key+"."+wildcard, f.Type.Elem()))
		case isTable(f.Type):
			below := keysOf(f.Type, key+".")
			if f.Tag.Get("inherits") != "" {
				for i := range below {
					below[i].Default = ""
				}
			}
			all = append(all, below...)
		default:
			all = append(all, keyOf(f, key, f.Type))
		}
	}
	return all
}

func keyOf(f structField, name string, t reflect.Type) Key {
	return Key{Name: name, Type: typeName(t), Default: f.Tag.Get("default"), Help: f.Tag.Get("help"), OneOf: strings.Fields(f.Tag.Get("oneof")), typ: t}
}

// structField is one that has a key.
type structField struct {
	reflect.StructField
	name      string // in the file
	omitEmpty bool
}

func fieldsOf(t reflect.Type) func(yield func(structField) bool) {
	return func(yield func(structField) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("toml"), ",")
			if name != "" && name != "-" && !yield(structField{f, name, strings.Contains(options, "omitempty")}) {
				return
			}
		}
	}
}

// isTable is true for a struct that is no value.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// typeName is the type's name for people.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[Duration]():
		return "duration"
	case reflect.TypeFor[CPU]():
		return "cores"
	case reflect.TypeFor[Argv]():
		return "command"
	case reflect.TypeFor[[]Mount]():
		return "mounts"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "number"
}

// wants says what a value must be.
func (k Key) wants() string {
	return map[string]string{
		"mounts": "a list of tables such as " + mountForm, "list": "a list of strings", "command": "a list of strings", "size": `a size such as "512MiB"`, "duration": `a duration such as "30s"`,
		"cores": `a share of processors such as "200%"`, "number": "a whole number", "boolean": "true or false", "string": "a string",
	}[k.Type]
}

// Literal is a value of the key's type in the form that the file has.
func (k Key) Literal(value string) string {
	switch k.Type {
	case "number", "boolean":
		return value
	case "list", "command":
		var quoted []string
		for _, element := range k.split(value) {
			quoted = append(quoted, quote(element))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case "mounts":
		return mountsLiteral(k.split(value))
	}
	return quote(value)
}

// split is how the environment and a flag write a list: with commas between, a
// command's words with blanks.
func (k Key) split(value string) []string {
	if k.Type == "command" {
		return strings.Fields(value)
	}
	var out []string
	for _, e := range strings.Split(value, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// schema is every key there is.
type schema []Key

// at finds the key of a path, as a file has it.
func (s schema) at(path []string) (Key, bool) {
	for _, k := range s {
		if slices.EqualFunc(strings.Split(k.Name, "."), path, segmentMatches) {
			return k, true
		}
	}
	return Key{}, false
}

// dotted finds the key of a dotted name, and the names its "*" stand for.
func (s schema) dotted(name string) (Key, []string, bool) {
	for _, k := range s {
		if captured, ok := capture(k.Name, name); ok {
			return k, captured, true
		}
	}
	return Key{}, nil, false
}

// below are the names that may follow a path; "*" is any.
func (s schema) below(path []string) []string {
	names := map[string]bool{}
	for _, k := range s {
		parts := strings.Split(k.Name, ".")
		if len(parts) > len(path) && slices.EqualFunc(parts[:len(path)], path, segmentMatches) {
			names[parts[len(path)]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// elsewhere names the table in which a key is known.
func (s schema) elsewhere(name string) string {
	for _, k := range s {
		if table, ok := strings.CutSuffix(k.Name, "."+name); ok {
			return "it belongs in [" + strings.ReplaceAll(table, wildcard, "NAME") + "]"
		}
	}
	return ""
}

func segmentMatches(pattern, segment string) bool {
	return pattern == wildcard && segment != "" || pattern == segment
}

// capture matches a text against a pattern and gives what each "*" stands for:
// at least one byte, the last as long and any other as short as it can be.
func capture(pattern, text string) ([]string, bool) {
	before, after, wild := strings.Cut(pattern, wildcard)
	if !wild {
		return nil, pattern == text
	}
	rest, ok := strings.CutPrefix(text, before)
	if !ok || rest == "" {
		return nil, false
	}
	between, _, more := strings.Cut(after, wildcard)
	if !more {
		name, ok := strings.CutSuffix(rest, after)
		return []string{name}, ok && name != ""
	}
	i := strings.Index(rest[1:], between) + 1
	if i == 0 {
		return nil, false
	}
	others, ok := capture(after, rest[i:])
	return append([]string{rest[:i]}, others...), ok
}

// locate calls do with the place of a path in a struct. What lies in a map is taken
// out and put back.
func locate(v reflect.Value, path []string, do func(reflect.Value)) {
	switch {
	case len(path) == 0:
		do(v)
	case v.Kind() == reflect.Map:
		name, elem := reflect.ValueOf(path[0]), reflect.New(v.Type().Elem()).Elem()
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		if old := v.MapIndex(name); old.IsValid() {
			elem.Set(old)
		}
		locate(elem, path[1:], do)
		v.SetMapIndex(name, elem)
	case v.Kind() == reflect.Struct:
		for f := range fieldsOf(v.Type()) {
			if f.name == path[0] {
				locate(v.FieldByIndex(f.Index), path[1:], do)
			}
		}
	}
}

// each visits every value with its dotted key, less what is empty and then left out.
func each(v reflect.Value, prefix string, visit func(key string, v reflect.Value)) {
	for f := range fieldsOf(v.Type()) {
		key, value := prefix+f.name, v.FieldByIndex(f.Index)
		switch {
		case value.Kind() == reflect.Map:
			for it := value.MapRange(); it.Next(); {
				if name := key + "." + it.Key().String(); isTable(it.Value().Type()) {
					each(it.Value(), name+".", visit)
				} else {
					visit(name, it.Value())
				}
			}
		case isTable(value.Type()):
			each(value, key+".", visit)
		case !f.omitEmpty || value.Len() > 0:
			visit(key, value)
		}
	}
}

func join(path []string) string { return strings.Join(path, ".") }
