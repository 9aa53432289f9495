package backend

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// piBackend is pi in JSON mode (0.87.1).
type piBackend struct{ Config }

func newPi(c Config) Backend { return piBackend{c} }

func (b piBackend) Name() string     { return b.Config.Name }
func (b piBackend) Kind() string     { return b.Config.Kind }
func (b piBackend) Framing() Framing { return Lines }

func (b piBackend) Features() Features {
	return Features{Resume: true, System: true, Effort: true, Exit: piExit}
}

// piExit: without a key, or the session's file, it says so on stderr only (0.87.1, 1.6.0).
func piExit(status int, stderr string) *Failure {
	if line := lastLine(stderr); (status == 1 || status == -1) && strings.HasPrefix(line, "No session found matching") {
		return sessionUnknown(line)
	}
	i := strings.Index(stderr, "No API key found for ")
	if status == 0 || i < 0 {
		return nil
	}
	line, _, _ := strings.Cut(stderr[i:], "\n")
	return noLogin(line)
}

// piSystemFile holds the system text: pi reads the option's value from a file
// of that name when there is one.
const piSystemFile = "system.txt"

func (b piBackend) Command(r Request) (Command, error) {
	argv, err := b.argv(r)
	if err != nil {
		return Command{}, fmt.Errorf("pi: %w", err)
	}
	set, pass := b.environment(piEnv(r),
		"PI_SKIP_VERSION_CHECK", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_OAUTH_TOKEN",
		"OPENAI_API_KEY", "GEMINI_API_KEY", "AZURE_OPENAI_*", "OPENROUTER_API_KEY", "MISTRAL_API_KEY", "GROQ_API_KEY",
		"XAI_API_KEY", "DEEPSEEK_API_KEY", "MOONSHOT_API_KEY", "KIMI_API_KEY", "ZAI_API_KEY")
	// No SoftEnd: pi writes a session when its first answer is complete, and a
	// SIGTERM before that loses it just as a SIGKILL does (measured).
	c := Command{
		Argv:   append(argv, b.ExtraArgs...),
		Set:    set,
		Pass:   pass,
		Prompt: []byte(plainPrompt(r.Prompt)),
		Settle: true,
	}
	if r.System != "" {
		c.Files = []File{{Name: piSystemFile, Data: []byte(r.System)}}
	}
	return c, nil
}

func (b piBackend) argv(r Request) ([]string, error) {
	argv := []string{"--mode", "json"}
	switch mode := b.permissions(r); mode {
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
		if err := argument(option.what, option.value); err != nil {
			return nil, err
		}
		argv = append(argv, option.name, option.value)
	}
	if r.Effort != "" {
		effort, err := level(r.Effort, "off", "minimal", "low", "medium", "high", "xhigh", "max")
		if err != nil {
			return nil, err
		}
		argv = append(argv, "--thinking", effort)
	}
	if r.System != "" {
		argv = append(argv, "--append-system-prompt", path.Join(r.Dir, piSystemFile))
	}
	return argv, nil
}

func piEnv(r Request) map[string]string {
	set := map[string]string{"TMPDIR": r.Tmp, "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
	if heap := nodeHeap(r.MemoryMax); heap != "" {
		set["NODE_OPTIONS"] = heap
	}
	return set
}

// nodeHeap makes node collect its garbage before the kernel ends the run: it
// sizes its heap by the host's memory and doesn't look at the group's limit.
// Three quarters leave room for what is not heap. "" without a limit.
func nodeHeap(memoryMax int64) string {
	mib := memoryMax / 4 * 3 >> 20
	if mib <= 0 {
		return ""
	}
	return "--max-old-space-size=" + strconv.FormatInt(mib, 10)
}

func (b piBackend) Machine(Request) Machine { return &piMachine{} }
