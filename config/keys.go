package config

import "strings"

// Key is one setting, for command line flags, completion and the manual.
type Key struct {
	// Name is the dotted key; a "*" in it stands for the name of a client, a
	// backend or an environment variable.
	Name    string
	Type    string // one word: string, list, command, size, duration, cores, number or boolean
	Default string // as an environment variable or a flag would have it; empty is none
	Help    string
	OneOf   []string // the only values, where not every one of the type will do
}

// Keys are the settings whose name holds no backend and no client.
func Keys() []Key {
	var keys []Key
	for _, k := range AllKeys() {
		if !strings.Contains(k.Name, wildcard) {
			keys = append(keys, k)
		}
	}
	return keys
}

// AllKeys is every setting there is, in the order in which it is shown.
func AllKeys() []Key {
	var keys []Key
	for _, f := range schema() {
		keys = append(keys, Key{Name: f.key, Type: f.kind.String(), Default: f.def, Help: f.help, OneOf: f.oneOf})
	}
	return keys
}

// Literal is a value of the key's type in the form that the file has.
func (k Key) Literal(value string) string {
	quote := func(s string) string { return `"` + s + `"` }
	switch k.Type {
	case count.String(), truth.String():
		return value
	case list.String(), words.String():
		var quoted []string
		for _, element := range splitList(value) {
			quoted = append(quoted, quote(element))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return quote(value)
}

// String is the type's name for people.
func (k kind) String() string {
	return [...]string{
		text: "string", list: "list", words: "command", size: "size", span: "duration",
		cores: "cores", count: "number", truth: "boolean",
	}[k]
}
