package backend

import (
	"bytes"
	"fmt"
)

// piMachine parses pi's lines. pi exits with 0 whatever happened: how the last
// message of the model stopped is what counts, once the agent has settled.
type piMachine struct {
	answer  answer
	start   int // answer text before the current message
	last    piMessage
	usage   piTotals
	session string // named, not yet on disk
	ended   bool
}

func (m *piMachine) Open() [][]byte { return nil }
func (m *piMachine) Close() []Event { return nil }

func (m *piMachine) Line(line []byte) ([]Event, [][]byte) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	var l piLine
	if !decode(line, &l) {
		return []Event{strayLine(line)}, nil
	}
	switch l.Type {
	case "session":
		m.session = l.ID
	case "message_start":
		return m.messageStart(l.Message), nil
	case "message_update":
		return m.update(l), nil
	case "message_end":
		return m.messageEnd(l.Message), nil
	case "tool_execution_start", "tool_execution_end":
		return []Event{{Kind: ToolUse, Tool: l.tool()}}, nil
	case "auto_retry_start":
		return m.retry(l), nil
	case "agent_settled":
		m.ended = true
		return m.settled(), nil
	}
	return nil, nil
}

func (m *piMachine) messageStart(message piMessage) []Event {
	if message.Role != "assistant" {
		return nil
	}
	events := m.voidFailed()
	m.start = m.answer.next()
	return events
}

func (m *piMachine) update(l piLine) []Event {
	switch l.Update.Type {
	case "text_delta":
		return m.answer.text(l.Update.Delta)
	case "thinking_delta":
		if l.Update.Delta != "" {
			return []Event{{Kind: Reasoning, Text: l.Update.Delta}}
		}
	}
	return nil
}

func (m *piMachine) messageEnd(message piMessage) []Event {
	if message.Role != "assistant" {
		return nil
	}
	m.last = message
	events := m.saved()
	if message.Usage == nil || message.StopReason == "error" && !message.Usage.Output.some() {
		return events // pi doesn't know what a broken call used
	}
	m.usage.add(*message.Usage)
	return append(events, m.usage.report()...)
}

// saved tells the session's id once: pi names it at the start, but writes it to
// disk with the first answer; before that it can't be resumed (0.87.1).
func (m *piMachine) saved() []Event {
	if m.session == "" {
		return nil
	}
	id := m.session
	m.session = ""
	return []Event{{Kind: Session, Session: id}}
}

func (l piLine) tool() *Tool {
	t := &Tool{ID: l.ToolCallID, Name: l.ToolName, Status: "started", Input: rawText(l.Args)}
	if l.Type == "tool_execution_end" {
		t.Status, t.Input, t.Output = "completed", "", contentText(l.Result.Content)
		if l.IsError {
			t.Status = "failed"
		}
	}
	return t
}

func (m *piMachine) retry(l piLine) []Event {
	text := fmt.Sprintf("the model's provider failed, retry %d of %d: %s", l.Attempt, l.MaxAttempts, l.ErrorMessage)
	return append(m.voidFailed(), Event{Kind: Notice, Text: bound(text, noticeMax)})
}

// voidFailed takes back what a failed message said: another one follows.
func (m *piMachine) voidFailed() []Event {
	if m.last.StopReason != "error" {
		return nil
	}
	m.last = piMessage{}
	return m.answer.void(m.start)
}

func (m *piMachine) settled() []Event {
	switch m.last.StopReason {
	case "stop":
		return []Event{{Kind: Done, Finish: "stop"}}
	case "length":
		return []Event{{Kind: Done, Finish: "length"}}
	case "error":
		f := providerFailure(statusIn(m.last.ErrorMessage), m.last.ErrorMessage)
		if f.Status == 0 {
			f.Code = "provider_error" // the stream broke, or no connection at all
		}
		return []Event{{Kind: Failed, Failure: f}}
	}
	message := fmt.Sprintf("pi settled without an answer (last message: %q) %s", m.last.StopReason, m.last.ErrorMessage)
	return []Event{{Kind: Failed, Failure: providerFailure(0, message)}}
}
