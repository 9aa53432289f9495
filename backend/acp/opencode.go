package acp

import (
	"strings"

	"penstock/backend"
	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
	"penstock/backend/provider"
)

// verifier gathers the messages that the agent has kept of this turn, from
// the replay of a session/load. opencode (1.18.33) tries a stream that broke up
// to five times and sends the new text after the old, under the same message
// id, with nothing between. What it keeps has the new text only.
type verifier struct {
	kept map[string]*strings.Builder // by id, of the messages of this turn
}

// verify asks for the session once more and mends the text; then goes on. An
// agent that refuses leaves the text as it came.
func (m *machine) verify(then func()) {
	m.verifier = &verifier{kept: map[string]*strings.Builder{}}
	for _, part := range m.text.parts {
		m.verifier.kept[part.id] = &strings.Builder{}
	}
	params := map[string]any{"sessionId": m.session, "cwd": m.request.Cwd, "mcpServers": []any{}}
	m.rpc.Call("session/load", params, func(answer jsonrpc.Message) {
		if answer.Error == nil {
			m.emit(m.text.mend(m.verifier.kept)...)
		}
		then()
	})
}

func (v *verifier) update(u update) {
	if u.Kind != "agent_message_chunk" {
		return
	}
	if kept := v.kept[u.MessageID]; kept != nil {
		kept.WriteString(blockText(u.Content))
	}
}

// mend voids the answer from the first message that differs from what was kept,
// and sends from there on what was kept. A message without id, or of which
// nothing was kept, stands as it is.
func (t *answerText) mend(kept map[string]*strings.Builder) []backend.Event {
	var events []backend.Event
	for _, part := range t.parts {
		came := parse.WholeText(part.text.String())
		text := came
		if k := kept[part.id]; part.id != "" && k != nil && k.Len() > 0 {
			text = parse.WholeText(k.String())
		}
		if len(events) == 0 {
			if text == came {
				continue
			}
			events = t.answer.Void(part.start)
		}
		t.answer.Next()
		events = append(events, t.answer.Text(text)...)
	}
	return events
}

// NewOpencode is opencode (1.18.33) as an ACP agent; `opencode run` has no text
// deltas. The environment keeps it from asking the network for updates, models
// and plugins at its start; configured providers are not touched. A turn can be
// resumed after a SIGKILL at its result line (measured), so it is ended at once.
func NewOpencode(c backend.Config) backend.Backend {
	return cli{c, profile{
		argv: []string{"acp"},
		set: map[string]string{
			"OPENCODE_DISABLE_AUTOUPDATE":      "1",
			"OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
			"OPENCODE_DISABLE_LSP_DOWNLOAD":    "1",
			"OPENCODE_DISABLE_MODELS_FETCH":    "1",
			"OPENCODE_DISABLE_SHARE":           "1",
			"OPENCODE_PURE":                    "1",
		},
		pass: []string{
			"ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY",
			"GROQ_API_KEY", "MISTRAL_API_KEY", "OPENAI_API_KEY", "OPENCODE_API_KEY", "OPENROUTER_API_KEY", "XAI_API_KEY",
		},
		modes:  map[string]string{"plan": "plan"},
		verify: true,
		lists:  true,
		models: true,
		script: provider.BunPreload,
		// Its own limits, which nothing sets, are five and more, in over a minute.
		refusals: 1,
		breaks:   3,
	}}
}
