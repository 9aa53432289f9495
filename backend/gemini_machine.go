package backend

import (
	"bytes"
	"strings"
)

// geminiMachine parses the CLI's lines. Thoughts are not among them. The user's
// own message is, and is no part of the answer.
type geminiMachine struct {
	answer answer
	calls  providerCalls
	tools  toolNames
	told   string // the CLI's last error line
	ended  bool
}

func (m *geminiMachine) Open() [][]byte { return nil }
func (m *geminiMachine) Close() []Event { return m.answer.flush() }

func (m *geminiMachine) Line(line []byte) ([]Event, [][]byte) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	if l, ok := parseProviderLine(line); ok {
		return m.provider(l), nil
	}
	var l geminiLine
	if !decode(line, &l) {
		return []Event{strayLine(line)}, nil
	}
	return m.line(l), nil
}

func (m *geminiMachine) line(l geminiLine) []Event {
	switch l.Type {
	case "init":
		if l.SessionID != "" {
			return []Event{{Kind: Session, Session: l.SessionID}}
		}
	case "message":
		if l.Role == "assistant" {
			return m.answer.text(string(l.Content))
		}
	case "tool_use", "tool_result":
		m.answer.next()
		m.answer.stirred = true
		return []Event{l.tool(&m.tools)}
	case "error":
		m.told = l.Message
		return []Event{{Kind: Notice, Text: bound(l.Message, noticeMax)}}
	case "result":
		m.ended = true
		events := l.report()
		m.answer.stirred = m.answer.stirred || len(events) > 0
		return append(append(events, m.answer.flush()...), m.result(l))
	}
	return nil
}

// geminiRefusalsMax is how many refusals in a row a run may take where the CLI's
// own limit could not be set: one retry, not ten.
const geminiRefusalsMax = 2

func (m *geminiMachine) provider(l providerLine) []Event {
	events := m.calls.take(l, &m.answer)
	m.answer.stirred = true
	if f := m.calls.hopeless(geminiRefusalsMax, 0); f != nil {
		m.ended = true
		events = append(append(events, m.answer.flush()...), Event{Kind: Failed, Failure: f})
	}
	return events
}

func (m *geminiMachine) result(l geminiLine) Event {
	finish := finishReason(m.calls.finish)
	if l.Status != "success" && (finish == "stop" || m.calls.failure() != nil) {
		return Event{Kind: Failed, Failure: m.failure(l)}
	}
	return m.answer.done(finish)
}

func (m *geminiMachine) failure(l geminiLine) *Failure {
	message := l.Error.Message
	if message == "" {
		message = m.told
	}
	status := m.calls.refused
	if status == 0 && m.calls.broken == "" {
		status = geminiStatus(message)
	}
	f := providerFailure(status, message)
	switch {
	case status != 0:
	case strings.Contains(l.Error.Type, "Authentication"):
		f.Code = "provider_auth"
	case m.calls.broken != "", strings.Contains(message, "Model stream ended"):
		f.Code = "provider_error" // a stream that broke, or no connection at all
	}
	return f
}
