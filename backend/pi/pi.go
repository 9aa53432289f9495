// Package pi is pi with JSON lines: in print mode, or spoken to.
//
//	pi.go       options, environment, what its exit status says
//	machine.go  lines -> events; a failed message that is tried again is void
//	conversation.go  what is written to it: what its model can see, prompt, images, another prompt
package pi

import (
	"fmt"
	"path"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
	"penstock/backend/provider"
)

// cli is pi in its JSON and RPC modes (0.87.1).
type cli struct{ backend.Config }

func New(c backend.Config) backend.Backend { return cli{c} }

func (b cli) Name() string { return b.Config.Name }

func (b cli) Kind() string { return b.Config.Kind }

func (b cli) Framing() backend.Framing { return backend.Lines }

func (b cli) Features() backend.Features {
	return backend.Features{Resume: true, System: true, Effort: true, Efforts: efforts(), Images: true, Files: true, Exit: exit}
}

func efforts() []string { return []string{"off", "minimal", "low", "medium", "high", "xhigh", "max"} }

// exit: without a key, or the session's file, it says so on stderr only (0.87.1, 1.6.0).
func exit(status int, stderr string) *backend.Failure {
	if line := parse.LastLine(stderr); (status == 1 || status == -1) && strings.HasPrefix(line, "No session found matching") {
		return parse.SessionUnknown(line)
	}
	i := strings.Index(stderr, "No API key found for ")
	if status == 0 || i < 0 {
		return nil
	}
	line, _, _ := strings.Cut(stderr[i:], "\n")
	return parse.NoLogin(line)
}

// systemFile holds the system text: pi reads the option's value from a file
// of that name when there is one.
const systemFile = "system.txt"

func (b cli) Command(r backend.Request) (backend.Command, error) {
	argv, err := b.argv(r)
	if err != nil {
		return backend.Command{}, fmt.Errorf("pi: %w", err)
	}
	set, pass := b.Environment(environment(r),
		"PI_SKIP_VERSION_CHECK", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_OAUTH_TOKEN",
		"OPENAI_API_KEY", "GEMINI_API_KEY", "AZURE_OPENAI_*", "OPENROUTER_API_KEY", "MISTRAL_API_KEY", "GROQ_API_KEY",
		"XAI_API_KEY", "DEEPSEEK_API_KEY", "MOONSHOT_API_KEY", "KIMI_API_KEY", "ZAI_API_KEY")
	// No SoftEnd: pi writes a session when its first answer is complete, and a
	// SIGTERM before that loses it just as a SIGKILL does (measured).
	c := backend.Command{
		Argv:   append(argv, b.ExtraArgs...),
		Set:    set,
		Pass:   pass,
		Prompt: []byte(backend.PlainPrompt(r.Prompt)),
		Settle: true,
	}
	if r.System != "" {
		c.Files = []backend.File{{Name: systemFile, Data: []byte(r.System)}}
	}
	if r.Converse {
		converse(&c, r)
	}
	return c, nil
}

func (b cli) argv(r backend.Request) ([]string, error) {
	argv := []string{"--mode", "json"}
	if r.Converse {
		argv[1] = "rpc"
	}
	switch mode := b.PermissionMode(r); mode {
	case "bypass", "default": // pi never asks
	case "plan":
		argv = append(argv, "--tools", "read,grep,find,ls")
	default:
		return nil, fmt.Errorf("permissions %q: use bypass, plan or default", mode)
	}
	for _, option := range []struct{ what, name, value string }{
		{"model", "--model", r.Model}, {"session", "--session", r.Session},
	} {
		if option.value == "" {
			continue
		}
		if err := backend.CheckArgument(option.what, option.value); err != nil {
			return nil, err
		}
		argv = append(argv, option.name, option.value)
	}
	if r.Effort != "" {
		effort, err := backend.EffortLevel(r.Effort, efforts()...)
		if err != nil {
			return nil, err
		}
		argv = append(argv, "--thinking", effort)
	}
	if r.System != "" {
		argv = append(argv, "--append-system-prompt", path.Join(r.Dir, systemFile))
	}
	return argv, nil
}

func environment(r backend.Request) map[string]string {
	set := map[string]string{"TMPDIR": r.Tmp, "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
	if heap := provider.NodeHeap(r.MemoryMax); heap != "" {
		set["NODE_OPTIONS"] = heap
	}
	return set
}

func (b cli) Machine(r backend.Request) backend.Machine {
	if r.Converse {
		return newConversation(r)
	}
	return &machine{}
}
