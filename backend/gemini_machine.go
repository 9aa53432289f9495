package backend

import (
	"bytes"
	"fmt"
	"strings"
)

// geminiMachine parses the CLI's lines. Thoughts are not among them. The user's
// own message is, and is no part of the answer.
type geminiMachine struct {
	answer  answer
	start   int // answer text before the current model call
	tools   toolNames
	refused int    // HTTP status of the last model call; 0 when it was accepted
	retried int    // model calls refused in a row
	broken  string // why the stream of the last model call broke
	finish  string // of the last model call that came to an end
	told    string // the CLI's last error line
	ended   bool
}

func (m *geminiMachine) Open() [][]byte { return nil }
func (m *geminiMachine) Close() []Event { return nil }

func (m *geminiMachine) Line(line []byte) ([]Event, [][]byte) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	var l geminiLine
	if !decode(line, &l) {
		return []Event{strayLine(line)}, nil
	}
	if strings.HasPrefix(l.Type, "provider_") {
		return m.provider(l), nil
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
			return m.answer.text(l.Content)
		}
	case "tool_use", "tool_result":
		m.answer.next()
		return []Event{l.tool(&m.tools)}
	case "error":
		m.told = l.Message
		return []Event{{Kind: Notice, Text: bound(l.Message, noticeMax)}}
	case "result":
		m.ended = true
		return append(l.Stats.event(), m.result(l))
	}
	return nil
}

// geminiRefusalsMax is how many refusals in a row a run may take where the CLI's
// own limit could not be set: one retry, not ten.
const geminiRefusalsMax = 2

// provider takes in what gemini_provider.cjs tells of the model calls. The text
// of a broken stream is void once there is another call: only then has all of it
// come.
func (m *geminiMachine) provider(l geminiLine) []Event {
	switch l.Type {
	case "provider_call":
		events := m.retry()
		m.start, m.broken, m.refused = m.answer.sent, "", 0
		return events
	case "provider_broken":
		m.broken = l.Message
		if m.broken == "" {
			m.broken = "the stream ended without a finish reason"
		}
	case "provider_finished":
		m.finish, m.retried = l.Reason, 0
	case "provider_refused":
		m.refused = l.Code
		m.retried++
		if m.retried >= geminiRefusalsMax && (l.Code == 429 || l.Code >= 500) {
			m.ended = true
			text := fmt.Sprintf("the model's provider answered %d to %d calls in a row", l.Code, m.retried)
			return []Event{{Kind: Failed, Failure: providerFailure(l.Code, text)}}
		}
	}
	return nil
}

// retry tells that the call before this one failed.
func (m *geminiMachine) retry() []Event {
	cause := m.broken
	if m.refused != 0 {
		cause = fmt.Sprintf("status %d", m.refused)
	}
	if cause == "" {
		return nil
	}
	text := "the model's provider failed, the CLI tries again: " + cause
	return append(m.answer.void(m.start), Event{Kind: Notice, Text: bound(text, noticeMax)})
}

func (m *geminiMachine) result(l geminiLine) Event {
	if l.Status != "success" {
		return Event{Kind: Failed, Failure: m.failure(l)}
	}
	if m.finish == "MAX_TOKENS" {
		return Event{Kind: Done, Finish: "length"}
	}
	return Event{Kind: Done, Finish: "stop"}
}

func (m *geminiMachine) failure(l geminiLine) *Failure {
	message := l.Error.Message
	if message == "" {
		message = m.told
	}
	status := m.refused
	if status == 0 && m.broken == "" {
		status = geminiStatus(message)
	}
	f := providerFailure(status, message)
	switch {
	case status != 0:
	case strings.Contains(l.Error.Type, "Authentication"):
		f.Code = "provider_auth"
	case m.broken != "", strings.Contains(message, "Model stream ended"):
		f.Code = "provider_error" // a stream that broke, or no connection at all
	}
	return f
}
