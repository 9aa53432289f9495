package backend

import "encoding/json"

// acpUpdate is the content of a session/update notification: the fields of all
// kinds that count.
type acpUpdate struct {
	Kind      string          `json:"sessionUpdate"`
	MessageID string          `json:"messageId"`
	Content   json.RawMessage `json:"content"` // a block, or a list of a tool's
	Meta      acpMeta         `json:"_meta"`
	acpToolCall
}

// acpMeta is what codex-acp (2.6.0) tells beside the protocol.
type acpMeta struct {
	Codex struct {
		Thread struct {
			Type string `json:"type"` // active, idle, systemError
		} `json:"threadStatus"`
		Error *codexError `json:"error"` // it tries again
	} `json:"codex"`
}

func (m *acpMachine) updated(params json.RawMessage) {
	var p struct {
		Session string    `json:"sessionId"`
		Update  acpUpdate `json:"update"`
	}
	if !decode(params, &p) || p.Session != m.session || m.session == "" {
		return
	}
	u := p.Update
	switch {
	case m.tally.takes(u):
	case m.verifier != nil:
		m.verifier.update(u)
	case m.turning:
		m.turn(u)
	}
}

// turn takes what belongs to the answer. Plans, commands and modes don't.
func (m *acpMachine) turn(u acpUpdate) {
	switch u.Kind {
	case "session_info_update":
		m.codexStatus(u.Meta)
	case "agent_message_chunk":
		if text := blockText(u.Content); m.chatter(u.MessageID, text) {
			m.ownWord(text)
			return
		}
		m.tally.stirred()
		m.emit(m.text.chunk(u.MessageID, blockText(u.Content))...)
		// opencode sends text somewhat later than the script its lines.
		if u.MessageID != "" && u.MessageID == m.earlier {
			m.calls.start = m.text.answer.sent
		}
	case "agent_thought_chunk":
		m.tally.stirred()
		m.emit(m.text.answer.think(blockText(u.Content))...)
	case "tool_call", "tool_call_update":
		m.text.step()
		events := m.tools.update(u)
		m.emit(events...)
		if m.profile.tally {
			m.toolUpdated(u)
		}
	}
}

// blockText is the text of a content block; other kinds of blocks have none.
func blockText(raw json.RawMessage) string {
	var block struct {
		Type string `json:"type"`
		Text words  `json:"text"`
	}
	if !decode(raw, &block) || block.Type != "text" {
		return ""
	}
	return string(block.Text)
}
