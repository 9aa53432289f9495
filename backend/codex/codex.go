// Package codex is Codex as a JSON-RPC server on stdio.
//
//	codex.go    how it is started, what is overridden of the user's configuration
//	machine.go  the conversation: initialize -> thread -> turn; requests to us are refused
//	turn.go     notifications of the turn -> text, usage;  messages.go: the answer's text
//	items.go    tool calls, thinking;  schema.go, images.go: what schemas and images are codex's to take
//	failure.go  codex's errors -> our codes
package codex

import (
	"fmt"
	"slices"

	"penstock/backend"
)

// cli is Codex as a JSON-RPC server on stdio (`codex app-server`,
// 0.169.0; the methods are those of `codex app-server generate-json-schema`).
// `codex exec --json` has no text deltas.
type cli struct{ backend.Config }

func New(c backend.Config) backend.Backend { return cli{c} }

func (b cli) Name() string { return b.Config.Name }

func (b cli) Kind() string { return b.Config.Kind }

func (b cli) Framing() backend.Framing { return backend.Lines }

func (b cli) Features() backend.Features {
	return backend.Features{
		Resume: true, System: true, Effort: true, Efforts: efforts(),
		Images: true, Files: true, JSONSchema: true, TakesSchema: isStrict,
	}
}

// overrides silence what codex asks of the network at its start, and hide
// variables that look like keys from the commands it runs (its default does not).
// A provider that can't be reached is given up after five tries (25 s) instead
// of never. Other retries are bounded, and each is told; they can't be turned
// off here, for only the user's configuration knows the provider's name
// (model_providers.<name>.request_max_retries and stream_max_retries), and
// codex 0.169.0 doesn't start when the built-in ones are overridden.
var overrides = []string{
	"analytics.enabled=false",
	"check_for_update_on_startup=false",
	"features.apps=false",
	"features.plugins=false",
	"features.remote_plugin=false",
	"features.unbounded_connection_retries=false",
	"shell_environment_policy.ignore_default_excludes=false",
}

// Command neither asks for a soft end nor for time to settle: all of six turns
// could be resumed after a SIGKILL at their turn/completed, and SIGTERM saves no
// more of a turn cut short (0.169.0).
func (b cli) Command(r backend.Request) (backend.Command, error) {
	if _, err := policy(b.PermissionMode(r)); err != nil {
		return backend.Command{}, fmt.Errorf("codex: %w", err)
	}
	if _, err := effortLevel(r.Effort); err != nil {
		return backend.Command{}, fmt.Errorf("codex: %w", err)
	}
	argv := []string{"app-server"}
	for _, override := range overrides {
		argv = append(argv, "-c", override)
	}
	set, pass := b.Environment(map[string]string{"TMPDIR": r.Tmp},
		"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORGANIZATION", "OPENAI_PROJECT", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN")
	documents, _ := r.Documents()
	return backend.Command{
		Argv:  append(argv, b.ExtraArgs...),
		Set:   set,
		Pass:  pass,
		Input: backend.Conversation,
		Files: slices.Concat(documents, r.ImageFiles()),
	}, nil
}

// policy is what a thread is allowed. "default" leaves it to the CLI's own
// configuration; what that would ask a person is declined.
func policy(permissions string) (map[string]any, error) {
	switch permissions {
	case "bypass":
		return map[string]any{"approvalPolicy": "never", "sandbox": "danger-full-access"}, nil
	case "plan":
		return map[string]any{"approvalPolicy": "never", "sandbox": "read-only"}, nil
	case "default":
		return map[string]any{}, nil
	}
	return nil, fmt.Errorf("permissions %q: use bypass, plan or default", permissions)
}

func effortLevel(effort string) (string, error) {
	if effort == "" {
		return "", nil
	}
	return backend.EffortLevel(effort, efforts()...)
}

// efforts are those of the models that codex (0.169.0) lists; it passes any word on.
func efforts() []string {
	return []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}
}

func (b cli) Machine(r backend.Request) backend.Machine {
	return newMachine(r, b.PermissionMode(r))
}
