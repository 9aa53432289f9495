// Package claude is Claude Code in print mode: with the prompt in a file, or spoken to.
//
//	claude.go   options, environment     lines.go   the shapes of its output lines
//	machine.go  lines -> events: deltas count, whole messages fill in, broken streams are void
//	conversation.go  what is written to it: prompt, images, another prompt
//	structured.go    an answer that keeps to a schema        schema.go  which schemas it takes
package claude

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"penstock/backend"
)

// cli is Claude Code in print mode with streamed JSON (2.1.252 to
// 2.1.332). It fails on an option that it doesn't know.
type cli struct{ backend.Config }

func New(c backend.Config) backend.Backend { return cli{c} }

func (b cli) Name() string { return b.Config.Name }

func (b cli) Kind() string { return b.Config.Kind }

func (b cli) Framing() backend.Framing { return backend.Lines }

func (b cli) Features() backend.Features {
	return backend.Features{
		Resume: true, System: true, Effort: true, Efforts: append([]string{"minimal"}, efforts()...),
		Images: true, Files: true, JSONSchema: true, TakesSchema: takesSchema,
	}
}

// efforts are the CLI's own levels; "minimal" is its lowest.
func efforts() []string { return []string{"low", "medium", "high", "xhigh", "max"} }

// systemFile holds the system text, which must not show in an argv.
const systemFile = "system.txt"

func (b cli) Command(r backend.Request) (backend.Command, error) {
	argv, err := b.argv(r)
	if err != nil {
		return backend.Command{}, fmt.Errorf("claude: %w", err)
	}
	set, pass := b.Environment(environment(r), "ANTHROPIC_*", "CLAUDE_CODE_OAUTH_TOKEN")
	// No SoftEnd: a session can be resumed as well after a SIGKILL in mid-answer
	// as after a SIGTERM (measured), and the run's group ends its tools.
	c := backend.Command{
		Argv:   append(argv, b.ExtraArgs...),
		Set:    set,
		Pass:   pass,
		Prompt: []byte(backend.NotACommand(r.Prompt)),
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
	if len(r.Schema) > 0 && !json.Valid(r.Schema) {
		return nil, errors.New("the schema is no JSON")
	}
	argv := []string{"-p", "--output-format=stream-json", "--verbose", "--include-partial-messages"}
	if r.Converse {
		argv = append(argv, conversational(r)...)
	}
	switch mode := b.PermissionMode(r); mode {
	case "bypass":
		argv = append(argv, "--permission-mode=bypassPermissions")
	case "plan", "default":
		// Without the second option a tool that would ask counts as refused by
		// a host that does not exist, and the model is told to try again.
		argv = append(argv, "--permission-mode="+mode)
		if !backend.Older(r.Version, "2.1.259") {
			argv = append(argv, "--permission-prompts=none")
		}
	default:
		return nil, fmt.Errorf("permissions %q: use bypass, plan or default", mode)
	}
	for _, option := range []struct{ what, name, value string }{
		{"model", "--model=", r.Model}, {"session", "--resume=", r.Session},
	} {
		if option.value == "" {
			continue
		}
		if err := backend.CheckArgument(option.what, option.value); err != nil {
			return nil, err
		}
		argv = append(argv, option.name+option.value)
	}
	if r.Effort != "" {
		effort, err := backend.EffortLevel(r.Effort, efforts()...)
		if err != nil {
			return nil, err
		}
		argv = append(argv, "--effort="+effort)
	}
	if r.System != "" {
		argv = append(argv, "--append-system-prompt-file="+path.Join(r.Dir, systemFile))
	}
	// Without it a resumed session keeps its first turn's text. Before 2.1.257 none did.
	if r.System != "" && r.Session != "" && !backend.Older(r.Version, "2.1.257") {
		argv = append(argv, "--system-prompt-snapshot=off")
	}
	return argv, nil
}

// environment keeps the CLI to itself: a TMPDIR of its own also for the socket
// through which all of a user's runs would else talk to each other, no look-ups
// but the model's (13 s where DNS packets are dropped), no retries: ten of
// them take three minutes and can't be seen from outside, and no @path in a prompt
// read before the model sees it: that asks for no permission, in no mode. The
// operator's set_env overrides each.
func environment(r backend.Request) map[string]string {
	set := map[string]string{
		"TMPDIR":             r.Tmp,
		"CLAUDE_CODE_TMPDIR": r.Tmp,
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC":  "1",
		"DISABLE_AUTOUPDATER":                       "1",
		"CLAUDE_CODE_MAX_RETRIES":                   "0",
		"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
		"CLAUDE_CODE_DISABLE_FILE_MENTIONS":         "1",
	}
	if r.Root {
		// Root may bypass permissions only where the CLI is told that it is caged.
		set["IS_SANDBOX"] = "1"
	}
	return set
}

func (b cli) Machine(r backend.Request) backend.Machine {
	if r.Converse {
		return newConversation(r)
	}
	return &Machine{}
}
