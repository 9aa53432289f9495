// Package kinds is the one table of what a backend's `kind` may be: a new CLI is
// a package beside this one and a row here. docs/adding-a-backend.md goes through
// it; configuration, server, `penstock check` and docs read the table.
//
// Its tests hold all kinds together: what each makes of the recordings in
// ../testdata (made by test/record), of any bytes (fuzz), of a cut answer, a
// refusal, a lost session, half a code point, an odd count.
package kinds

import (
	"fmt"
	"slices"
	"strings"

	"penstock/backend"
	"penstock/backend/acp"
	"penstock/backend/claude"
	"penstock/backend/codex"
	"penstock/backend/gemini"
	"penstock/backend/pi"
	"penstock/backend/program"
	"penstock/backend/structured"
)

// Kind is one row.
type Kind struct {
	Name    string
	Program string // what the CLI is called on PATH; "" where the operator names any program
	Alias   string // another name that clients know it by
	Oldest  string // version that was tried and works, with all of what test/newest asks; "" where the program is any
	Keeps   string // where its sessions lie, relative to HOME; "" where the program is any
	New     func(backend.Config) backend.Backend
}

// All are the kinds, those of known CLIs first, each part sorted by name.
func All() []Kind {
	return []Kind{
		{"claude", "claude", "claude-code", "2.1.252", ".claude", claude.New},
		{"codex", "codex", "", "0.150.0", ".codex", codex.New},
		{"gemini", "gemini", "", "0.51.0", ".gemini", gemini.New},
		{"kimi", "kimi", "kimi-code", "0.43.1", ".kimi-code", acp.NewKimi},
		{"opencode", "opencode", "", "1.17.19", ".local/share/opencode", acp.NewOpencode},
		{"pi", "pi", "", "0.81.1", ".pi", pi.New},
		{"acp", "", "", "", "", acp.New},
		{"demo", "", "", "", "", program.NewJSONL}, // the one that is built in (cmd/penstock/demo)
		{"exec", "", "", "", "", program.NewExec},
		{"jsonl", "", "", "", "", program.NewJSONL},
	}
}

// Find is the kind of that name.
func Find(name string) (Kind, bool) {
	all := All()
	if i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name }); i >= 0 {
		return all[i], true
	}
	return Kind{}, false
}

// New makes the backend of c.Kind, whose answers keep to what is asked of their shape (package
// structured). The error of an unknown kind names the known ones.
func New(c backend.Config) (backend.Backend, error) {
	kind, ok := Find(c.Kind)
	if !ok {
		var names []string
		for _, k := range All() {
			names = append(names, k.Name)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("backend %s: kind %q: unknown, use one of %s", c.Name, c.Kind, strings.Join(names, ", "))
	}
	return structured.New(kind.New(c)), nil
}

// Oldest is the oldest version of a kind's CLI that is known to work; "" where
// the program is any.
func Oldest(kind string) string {
	k, _ := Find(kind)
	return k.Oldest
}
