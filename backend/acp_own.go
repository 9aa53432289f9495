package backend

import "strings"

// codexACP is the agent (2.6.0) that tells the model's messages by their ids, and
// without one what is its own: warnings, a compaction, and why a turn failed,
// which it ends as any other. That it failed only the thread's status says.
const codexACP = "@agentclientprotocol/codex-acp"

// chatter is true for what an agent says of itself in the model's place.
func (m *acpMachine) chatter(id, text string) bool {
	if m.agent.Info.Name == codexACP && id == "" {
		return true
	}
	return m.profile.chatter != nil && m.profile.chatter.MatchString(text)
}

// ownWord tells it beside the answer; after a failure it is the reason.
func (m *acpMachine) ownWord(text string) {
	text = bound(strings.TrimSpace(wholeWords(text)), noticeMax)
	if text == "" {
		return
	}
	if m.failed {
		m.reason = text
	}
	m.emit(Event{Kind: Notice, Text: text})
}

// codexStatus follows the state of codex's thread.
func (m *acpMachine) codexStatus(meta acpMeta) {
	switch meta.Codex.Thread.Type {
	case "systemError":
		m.failed = true
	case "active", "idle":
		m.failed, m.reason = false, ""
	}
	if e := meta.Codex.Error; e != nil {
		m.ownWord(e.text())
	}
}

// told is the end of a turn that failed, by the reason that the agent gave.
func (m *acpMachine) told() Event {
	e := codexError{Message: m.reason, Info: []byte(`"other"`)}
	if m.reason == "" {
		e.Message = "the turn failed, and the agent gives no reason"
	}
	end := m.text.answer.failed(e)
	// Its words for an answer of 5xx have no status.
	if f := end.Failure; f != nil && f.Status == 0 && strings.Contains(m.reason, "experiencing high demand") {
		f.Code = "provider_error"
	}
	return end
}
