package backend

import (
	"bytes"
	"fmt"
	"strings"
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
func (m *piMachine) Close() []Event { return m.answer.flush() }

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
		m.answer.stirred = true
		return []Event{{Kind: ToolUse, Tool: l.tool()}}, nil
	case "auto_retry_start":
		return m.retry(l), nil
	case "agent_settled":
		m.ended = true
		return append(m.answer.flush(), m.settled()), nil
	}
	return nil, nil
}

func (m *piMachine) messageStart(message piMessage) []Event {
	if message.Role != "assistant" {
		return nil
	}
	events := m.voidFailed()
	m.start = m.answer.next()
	m.answer.stirred = true
	return events
}

func (m *piMachine) update(l piLine) []Event {
	switch l.Update.Type {
	case "text_delta":
		return m.answer.text(string(l.Update.Delta))
	case "text_start":
		m.answer.begin()
	case "text_end":
		return m.answer.rest(string(l.Update.Content))
	case "thinking_delta":
		return m.answer.think(string(l.Update.Delta))
	}
	return nil
}

func (m *piMachine) messageEnd(message piMessage) []Event {
	if message.Role != "assistant" {
		return nil
	}
	m.last = message
	m.answer.stirred = true
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

func (m *piMachine) settled() Event {
	switch m.last.StopReason {
	case "stop", "length":
		return m.answer.done(m.last.StopReason)
	case "error":
		if piRefused(m.last) {
			return m.answer.done("content_filter")
		}
		f := providerFailure(statusIn(m.last.ErrorMessage), m.last.ErrorMessage)
		switch {
		case f.Status != 0:
		case piNoLogin(m.last.ErrorMessage):
			f.Code = "provider_auth"
		default:
			f.Code = "provider_error" // the stream broke, or no connection at all
		}
		return Event{Kind: Failed, Failure: f}
	}
	message := fmt.Sprintf("pi settled without an answer (last message: %q) %s", m.last.StopReason, m.last.ErrorMessage)
	return Event{Kind: Failed, Failure: providerFailure(0, message)}
}

// piRefused: pi makes an error of a refusal for safety, and tells the provider's
// word beside it or in the message, or has a sentence of its own (0.87.1, 1.6.0).
func piRefused(m piMessage) bool {
	if finishReason(m.RawStop) == "content_filter" || strings.HasSuffix(m.RawStop, ".content_filter") {
		return true
	}
	for _, said := range []string{"Provider finish_reason: ", "Provider stopped with: "} {
		if word, ok := strings.CutPrefix(m.ErrorMessage, said); ok {
			return finishReason(word) == "content_filter"
		}
	}
	return m.ErrorMessage == "The model refused to complete the request"
}

// piNoLogin: what pi says where it has no key for the model's provider.
func piNoLogin(message string) bool {
	return strings.HasPrefix(message, "No API key ") || strings.Contains(message, "API key is required")
}
