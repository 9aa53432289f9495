package backend

import "strings"

// acpVerifier gathers the messages that the agent has kept of this turn, from
// the replay of a session/load. opencode (1.18.33) tries a stream that broke up
// to five times and sends the new text after the old, under the same message
// id, with nothing between. What it keeps has the new text only.
type acpVerifier struct {
	kept map[string]*strings.Builder // by id, of the messages of this turn
}

// verify asks for the session once more and mends the text; then goes on. An
// agent that refuses leaves the text as it came.
func (m *acpMachine) verify(then func()) {
	m.verifier = &acpVerifier{kept: map[string]*strings.Builder{}}
	for _, part := range m.text.parts {
		m.verifier.kept[part.id] = &strings.Builder{}
	}
	params := map[string]any{"sessionId": m.session, "cwd": m.request.Cwd, "mcpServers": []any{}}
	m.rpc.call("session/load", params, func(answer rpcMessage) {
		if answer.Error == nil {
			m.emit(m.text.mend(m.verifier.kept)...)
		}
		then()
	})
}

func (v *acpVerifier) update(u acpUpdate) {
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
func (t *acpText) mend(kept map[string]*strings.Builder) []Event {
	var events []Event
	for _, part := range t.parts {
		came := wholeWords(part.text.String())
		text := came
		if k := kept[part.id]; part.id != "" && k != nil && k.Len() > 0 {
			text = wholeWords(k.String())
		}
		if len(events) == 0 {
			if text == came {
				continue
			}
			events = t.answer.void(part.start)
		}
		t.answer.next()
		events = append(events, t.answer.text(text)...)
	}
	return events
}
