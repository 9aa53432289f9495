package backend

import (
	"fmt"
	"slices"
	"strings"
)

// Kinds are the kinds New knows, sorted.
func Kinds() []string {
	return []string{"acp", "claude", "codex", "demo", "exec", "gemini", "jsonl", "kimi", "opencode", "pi"}
}

// New makes the adapter of c.Kind. The error of an unknown kind names the known ones.
func New(c Config) (Backend, error) {
	switch c.Kind {
	case "claude":
		return newClaude(c), nil
	case "codex":
		return newCodex(c), nil
	case "opencode":
		return newOpencode(c), nil
	case "kimi":
		return newKimi(c), nil
	case "gemini":
		return newGemini(c), nil
	case "acp":
		return newACP(c), nil
	case "pi":
		return newPi(c), nil
	case "exec":
		return newExec(c), nil
	case "jsonl", "demo":
		return newJSONL(c), nil
	}
	return nil, fmt.Errorf("backend %s: kind %q: unknown, use one of %s", c.Name, c.Kind, strings.Join(Kinds(), ", "))
}

// environment lays the operator's set_env over an adapter's own settings, and
// adds his names to the adapter's.
func (c Config) environment(set map[string]string, pass ...string) (map[string]string, []string) {
	merged := make(map[string]string, len(set)+len(c.SetEnv))
	for name, value := range set {
		merged[name] = value
	}
	for name, value := range c.SetEnv {
		merged[name] = value
	}
	return merged, slices.Concat(pass, c.Env)
}

// permissions is the mode of r, else the configured one, else "bypass": nobody
// is there to answer a prompt.
func (c Config) permissions(r Request) string {
	switch {
	case r.Permissions != "":
		return r.Permissions
	case c.Permissions != "":
		return c.Permissions
	}
	return "bypass"
}
