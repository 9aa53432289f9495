// Package acp is any agent of the Agent Client Protocol, and those two of the known
// CLIs that are driven by it: kimi and opencode.
//
//	acp.go      how it is started; profile: where an agent differs from the protocol
//	machine.go  one turn: initialize -> session -> choices.go (mode, model; its requests to us) -> prompt
//	attachments.go   what goes with the prompt: images, where they would reach the model; documents
//	updates.go  what it sends meanwhile: text, thinking -> parse.Answer;  tools.go: tool calls
//	end.go      the turn's result -> usage, Done or Failed
//	kimi.go, opencode.go   a profile each, with what that agent needs beside the protocol
package acp

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"penstock/backend"
	"penstock/backend/provider"
)

// cli is an agent of the Agent Client Protocol, version 1
// (agentclientprotocol.com): JSON-RPC lines on stdio.
type cli struct {
	backend.Config
	profile profile
}

// profile is where an agent differs from the protocol, or needs more than it.
type profile struct {
	argv []string
	set  map[string]string
	pass []string
	// script is how its runtime is told to load provider.cjs, as a name and a
	// value for the environment; nil, or no name, where it can't be.
	script func(backend.Request) (name, value string)
	// refusals and breaks are how many model calls may be refused or break in a
	// row before the turn is ended; 0 leaves it to the agent.
	refusals, breaks int
	// modes are the agent's own words for our permissions "bypass" and "plan".
	modes map[string]string
	// verify: the agent tries broken streams again without a word; where the
	// script tells nothing, the text it keeps is asked for at the turn's end
	// (opencode.go).
	verify bool
	// tally: the agent tells tokens, and shows failed turns, only by its /usage
	// command (kimi.go).
	tally bool
	// lists: its list of models has all that its logins give, by provider.
	lists bool
	// models: it leaves out images for a model that isn't known to take them, without a word;
	// the script tells which are.
	models bool
	// commands are the beginnings beside "/" of a text that the agent takes for a command.
	commands []string
	// toolIDs: the name of a tool begins the ids of its calls, and their titles say what they do.
	toolIDs bool
	// thoughts: a chunk of thinking is a whole thought, its subject between "**" in a line above.
	thoughts bool
	// login is where the agent looks for a login, to be told where it has none.
	login string
	// chatter is what the agent says of itself in the model's place.
	chatter *regexp.Regexp
	// close: the agent has saved the session only once it has closed it.
	close bool
}

// New is any agent: the configured command speaks the protocol by itself.
func New(c backend.Config) backend.Backend {
	return cli{c, profile{modes: map[string]string{"plan": "plan"}}}
}

// NewGemini is a machine for Gemini CLI (0.61.0) as an agent, which package gemini starts: mode
// and model are in its argv, and the script tells of its model calls.
func NewGemini(r backend.Request, permissions string) backend.Machine {
	r.Model = ""
	return newMachine(profile{
		commands: []string{"$"},
		toolIDs:  true,
		thoughts: true,
		refusals: 2, // where its own retries could not be turned off
		login: " (hint: as an agent gemini takes its login from security.auth.selectedType in its settings.json, else GEMINI_API_KEY; " +
			"GOOGLE_GENAI_USE_VERTEXAI and GOOGLE_GENAI_USE_GCA do not choose one)",
	}, r, permissions)
}

func (b cli) Name() string { return b.Config.Name }

func (b cli) Kind() string { return b.Config.Kind }

func (b cli) Framing() backend.Framing { return backend.Lines }

// Features: the protocol has no system text and no effort. Whether an agent takes images it
// tells in the conversation.
func (b cli) Features() backend.Features {
	return backend.Features{Resume: true, Images: true, Files: true}
}

func (b cli) Command(r backend.Request) (backend.Command, error) {
	switch mode := b.PermissionMode(r); mode {
	case "bypass", "plan", "default":
	default:
		return backend.Command{}, fmt.Errorf("%s: permissions %q: use bypass, plan or default", b.Config.Kind, mode)
	}
	own := map[string]string{"TMPDIR": r.Tmp}
	maps.Copy(own, b.profile.set)
	var files []backend.File
	if b.profile.script != nil {
		if name, value := b.profile.script(r); name != "" {
			own[name], files = value, provider.Files()
		}
	}
	if b.profile.models && len(r.Images()) > 0 {
		own[provider.TellModels] = "1"
	}
	documents, _ := r.Documents()
	set, pass := b.Environment(own, b.profile.pass...)
	return backend.Command{
		Argv:  slices.Concat(b.profile.argv, b.ExtraArgs),
		Set:   set,
		Pass:  pass,
		Input: backend.Conversation,
		Files: slices.Concat(files, documents),
	}, nil
}

func (b cli) Machine(r backend.Request) backend.Machine {
	return newMachine(b.profile, r, b.PermissionMode(r))
}
