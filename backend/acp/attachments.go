package acp

import (
	"path"
	"strings"

	"penstock/backend"
	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
)

// content is the prompt with what goes with it.
func (m *machine) content() []any {
	_, documents := m.request.Documents()
	blocks := []any{textBlock(m.plain(string(backend.PromptWithSystem(m.request)) + documents))}
	for _, image := range m.request.Images() {
		blocks = append(blocks, map[string]any{"type": "image", "mimeType": image.Type, "data": image.Data})
	}
	return blocks
}

// plain is a text that the agent takes for no command of its own.
func (m *machine) plain(text string) string { return backend.PlainPrompt(text, m.profile.commands...) }

func textBlock(text string) any { return map[string]any{"type": "text", "text": text} }

// Why images would not reach the model.
const (
	agentIsBlind   = "agent"
	modelIsBlind   = "model"
	modelIsUnknown = "unknown"
)

// blind is why images of the prompt would be left out without a word to us; "" is that
// there are none, or that they won't.
func (m *machine) blind() string {
	if !m.profile.models || len(m.request.Images()) == 0 {
		return ""
	}
	switch sees, known := m.models.Take(m.model()); {
	case !known:
		return modelIsUnknown
	case !sees:
		return modelIsBlind
	}
	return ""
}

// model is the one that the session has.
func (m *machine) model() string {
	if option, ok := m.choices.option("model"); ok && m.request.Model == "" {
		return option.Current
	}
	return m.request.Model
}

// refuse ends the run before the prompt is told, once the agent has answered a request that
// is only there for its answer: with that the agent's lines alone tell a replay, which
// knows of no images, where and why the run ended.
func (m *machine) refuse(why string) { m.rpc.Ask(refusal(why), "initialize", initialize()) }

func refusal(why string) string { return "unsupported input: " + why }

func (m *machine) expectRefusals() {
	for _, why := range []string{agentIsBlind, modelIsBlind, modelIsUnknown} {
		m.rpc.Expect(refusal(why), func(jsonrpc.Message) { m.fail(parse.UnsupportedInput(m.explain(why))) })
	}
}

func (m *machine) explain(why string) string {
	agent, model := parse.Bound(m.agent.Info.Name, parse.NoticeMax/4), parse.Bound(m.model(), parse.NoticeMax/4)
	if agent == "" {
		agent = "the agent"
	}
	switch why {
	case modelIsBlind:
		return agent + " leaves out images for the model " + model + ` (hint: choose a model that takes them; for one that does and is not known to, put "image" into modalities.input of its entry in opencode.json)`
	case modelIsUnknown:
		return "whether " + agent + " gives images to the model " + model + " is not known: it leaves them out without a word for a model that isn't configured for them, and what would tell is not loaded (hint: take BUN_INSPECT_PRELOAD out of set_env, or choose another backend)"
	}
	return agent + " takes no images (hint: choose another backend)"
}

// ownDocument is true for a request to read a document of the prompt, which lies outside of
// the directory that the agent may read in without asking (opencode 1.18.33).
func (m *machine) ownDocument(call permissionCall) bool {
	within := path.Join(m.request.Dir, backend.DocumentDir) + "/"
	if m.request.Dir == "" || !isBelow(call.Input.Path, within) {
		return false
	}
	for _, at := range call.Locations {
		if !isBelow(at.Path+"/", within) {
			return false
		}
	}
	return true
}

// permissionCall is the part of a permission request that tells what is to be done where.
type permissionCall struct {
	Locations []struct {
		Path string `json:"path"`
	} `json:"locations"`
	Input struct {
		Path string `json:"filepath"`
	} `json:"rawInput"`
}

func isBelow(name, within string) bool {
	return strings.HasPrefix(name, within) && !strings.Contains(name, "/../")
}
