package config

import (
	"maps"
	"slices"
)

// Kinds of backend: the six known command lines, three for any program, demo.
func Kinds() []string {
	return append(Known(), "acp", "demo", "exec", "jsonl")
}

// Known are the backends that are there without configuration; each is its own kind.
func Known() []string {
	return slices.Sorted(maps.Keys(programs()))
}

// programs is what each known backend is called on PATH.
func programs() map[string]string {
	return map[string]string{
		"claude": "claude", "codex": "codex", "gemini": "gemini",
		"kimi": "kimi", "opencode": "opencode", "pi": "pi",
	}
}

// reservedNames can't be backends: a request's model could not tell them apart.
func reservedNames() map[string]string {
	return map[string]string{
		"bridge":      `a leading "bridge/" of a model is dropped`,
		"claude-code": "it is an alias of claude",
		"kimi-code":   "it is an alias of kimi",
	}
}
