package backend

import "fmt"

// codexBackend is Codex as a JSON-RPC server on stdio (`codex app-server`,
// 0.169.0; the methods are those of `codex app-server generate-json-schema`).
// `codex exec --json` has no text deltas.
type codexBackend struct{ Config }

func newCodex(c Config) Backend { return codexBackend{c} }

func (b codexBackend) Name() string     { return b.Config.Name }
func (b codexBackend) Kind() string     { return b.Config.Kind }
func (b codexBackend) Framing() Framing { return Lines }

func (b codexBackend) Features() Features {
	return Features{Resume: true, System: true, Effort: true}
}

// codexOverrides silence what codex asks of the network at its start, and hide
// variables that look like keys from the commands it runs (its default does not).
// A provider that can't be reached is given up after five tries (25 s) instead
// of never. Other retries are bounded, and each is told; they can't be turned
// off here, for only the user's configuration knows the provider's name
// (model_providers.<name>.request_max_retries and stream_max_retries), and
// codex 0.169.0 doesn't start when the built-in ones are overridden.
var codexOverrides = []string{
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
func (b codexBackend) Command(r Request) (Command, error) {
	if _, err := codexPolicy(b.permissions(r)); err != nil {
		return Command{}, fmt.Errorf("codex: %w", err)
	}
	if _, err := codexEffort(r.Effort); err != nil {
		return Command{}, fmt.Errorf("codex: %w", err)
	}
	argv := []string{"app-server"}
	for _, override := range codexOverrides {
		argv = append(argv, "-c", override)
	}
	set, pass := b.environment(map[string]string{"TMPDIR": r.Tmp},
		"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORGANIZATION", "OPENAI_PROJECT", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN")
	return Command{
		Argv:  append(argv, b.ExtraArgs...),
		Set:   set,
		Pass:  pass,
		Input: Conversation,
	}, nil
}

// codexPolicy is what a thread is allowed. "default" leaves it to the CLI's own
// configuration; what that would ask a person is declined.
func codexPolicy(permissions string) (map[string]any, error) {
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

func codexEffort(effort string) (string, error) {
	if effort == "" {
		return "", nil
	}
	return level(effort, "none", "minimal", "low", "medium", "high", "xhigh")
}

func (b codexBackend) Machine(r Request) Machine {
	return newCodexMachine(r, b.permissions(r))
}
