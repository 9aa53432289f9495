package acp

import (
	"encoding/json"
	"strings"

	"penstock/backend"
	"penstock/backend/codex"
	"penstock/backend/parse"
)

// codexACP is the agent (2.6.0) that tells the model's messages by their ids, and
// without one what is its own: warnings, a compaction, and why a turn failed,
// which it ends as any other. That it failed only the thread's status says.
const codexACP = "@agentclientprotocol/codex-acp"

// chatter is true for what an agent says of itself in the model's place.
func (m *machine) chatter(id, text string) bool {
	if m.agent.Info.Name == codexACP && id == "" {
		return true
	}
	return m.profile.chatter != nil && m.profile.chatter.MatchString(text)
}

// ownWord tells it beside the answer; after a failure it is the reason.
func (m *machine) ownWord(text string) {
	text = parse.Bound(strings.TrimSpace(parse.WholeText(text)), parse.NoticeMax)
	if text == "" {
		return
	}
	if m.failed {
		m.reason = text
	}
	m.emit(backend.Event{Kind: backend.Notice, Text: text})
}

// codexStatus follows the state of codex's thread.
func (m *machine) codexStatus(meta meta) {
	switch meta.Codex.Thread.Type {
	case "systemError":
		m.failed = true
	case "active", "idle":
		m.failed, m.reason = false, ""
	}
	if e := meta.Codex.Error; e != nil {
		m.ownWord(e.Text())
	}
}

// told is the end of a turn that failed, by the reason that the agent gave.
func (m *machine) told() backend.Event {
	e := codex.Error{Message: m.reason, Info: []byte(`"other"`)}
	if m.reason == "" {
		e.Message = "the turn failed, and the agent gives no reason"
	}
	end := codex.TurnFailed(&m.text.answer, e)
	// Its words for an answer of 5xx have no status.
	if f := end.Failure; f != nil && f.Status == 0 && strings.Contains(m.reason, "experiencing high demand") {
		f.Code = "provider_error"
	}
	return end
}

// answerText puts the answer together. A message ends where the agent names another
// or uses a tool; not all agents name their messages.
type answerText struct {
	answer  parse.Answer
	parts   []*messageText
	stepped bool
	turn    int // how many parts earlier turns have
}

// messageText is one message of the answer.
type messageText struct {
	id    string
	start int // answer text before it
	text  strings.Builder
}

func (t *answerText) chunk(id, text string) []backend.Event {
	if text == "" {
		return nil
	}
	if n := len(t.parts); n == 0 || t.stepped || t.parts[n-1].id != id {
		t.stepped = false
		t.parts = append(t.parts, &messageText{id: id, start: t.answer.Next()})
	}
	t.parts[len(t.parts)-1].text.WriteString(text)
	return t.answer.Text(text)
}

// step says that a tool was used: what follows is another message.
func (t *answerText) step() { t.stepped = true }

// anew says that what follows is another turn's.
func (t *answerText) anew() { t.stepped, t.turn = true, len(t.parts) }

// none is true where this turn has no text.
func (t *answerText) none() bool { return len(t.parts) == t.turn }

// last is the id of the newest message; "" is none.
func (t *answerText) last() string {
	if len(t.parts) == 0 {
		return ""
	}
	return t.parts[len(t.parts)-1].id
}

// update is the content of a session/update notification: the fields of all
// kinds that count.
type update struct {
	Kind      string          `json:"sessionUpdate"`
	MessageID string          `json:"messageId"`
	Content   json.RawMessage `json:"content"` // a block, or a list of a tool's
	Meta      meta            `json:"_meta"`
	toolCall
}

// meta is what codex-acp (2.6.0) tells beside the protocol.
type meta struct {
	Codex struct {
		Thread struct {
			Type string `json:"type"` // active, idle, systemError
		} `json:"threadStatus"`
		Error *codex.Error `json:"error"` // it tries again
	} `json:"codex"`
}

func (m *machine) updated(params json.RawMessage) {
	var p struct {
		Session string `json:"sessionId"`
		Update  update `json:"update"`
	}
	if !parse.Decode(params, &p) || p.Session != m.session || m.session == "" {
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
func (m *machine) turn(u update) {
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
			m.calls.Start = m.text.answer.Sent
		}
	case "agent_thought_chunk":
		m.tally.stirred()
		m.emit(m.text.answer.Think(m.thought(blockText(u.Content)))...)
	case "tool_call", "tool_call_update":
		m.text.step()
		events := m.tools.update(u)
		m.emit(events...)
		if m.profile.tally {
			m.toolUpdated(u)
		}
	}
}

// thought is a piece of thinking; of an agent that tells each thought whole, a paragraph,
// without the subject that it has none of.
func (m *machine) thought(text string) string {
	if !m.profile.thoughts {
		return text
	}
	text = strings.TrimPrefix(text, "****\n")
	if text != "" && m.thinks {
		text = "\n\n" + text
	}
	m.thinks = m.thinks || text != ""
	return text
}

// blockText is the text of a content block; other kinds of blocks have none.
func blockText(raw json.RawMessage) string {
	var block struct {
		Type string         `json:"type"`
		Text parse.JSONText `json:"text"`
	}
	if !parse.Decode(raw, &block) || block.Type != "text" {
		return ""
	}
	return string(block.Text)
}
