package claude

import (
	"bytes"
	"fmt"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// Machine parses claude's lines. Text comes three times: as deltas, again as
// whole blocks, and the last of it in the result. The deltas count, and of the
// others what the deltas don't have: all of a message that was not streamed (the
// CLI's fallback after a broken stream).
type Machine struct {
	session  string
	answer   parse.Answer
	streamed string          // id of the last message that came as deltas
	spoken   string          // id of the last message that came whole
	starts   map[int]int     // block index of the streamed message -> answer text before it
	Tools    parse.ToolNames // of tool uses without a result yet
	stop     string          // stop_reason of the last message
	wrong    string          // the CLI's word for what went wrong
	usage    totals
	output   []byte // the answer that keeps to a schema
	words    string // the result line's text
	ended    bool
}

func (m *Machine) Open() [][]byte { return nil }

func (m *Machine) Close() []backend.Event { return m.answer.Flush() }

func (m *Machine) Line(line []byte) ([]backend.Event, [][]byte) {
	l, stray, ok := m.read(line)
	if !ok {
		return stray, nil
	}
	return m.take(l), nil
}

// read is false for a line that is none of the protocol's, or comes after the end.
func (m *Machine) read(line []byte) (l outputLine, stray []backend.Event, ok bool) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return l, nil, false
	}
	if !parse.Decode(line, &l) {
		return l, []backend.Event{parse.StrayLine(line)}, false
	}
	return l, nil, true
}

func (m *Machine) take(l outputLine) []backend.Event {
	events := m.sessionOf(l)
	switch l.Type {
	case "system":
		events = append(events, l.retryNotice()...)
	case "stream_event":
		if l.Parent == nil {
			events = append(events, m.stream(l)...)
		}
	case "assistant":
		events = append(events, m.assistant(l)...)
	case "user":
		events = append(events, m.toolResults(l)...)
	case "result":
		m.ended = true
		events = append(events, m.result(l)...)
	}
	return events
}

func (m *Machine) sessionOf(l outputLine) []backend.Event {
	known := l.Type == "result" || l.Type == "system" && l.Subtype == "init"
	if !known || l.SessionID == "" || l.SessionID == m.session {
		return nil
	}
	m.session = l.SessionID
	return []backend.Event{{Kind: backend.Session, Session: l.SessionID}}
}

func (l outputLine) retryNotice() []backend.Event {
	if l.Subtype != "api_retry" {
		return nil
	}
	text := fmt.Sprintf("the model's provider failed, retry %d of %d", l.Attempt, l.MaxRetries)
	if l.ErrorStatus != nil {
		text += fmt.Sprintf(" (status %d)", *l.ErrorStatus)
	}
	return []backend.Event{{Kind: backend.Notice, Text: text}}
}

func (m *Machine) stream(l outputLine) []backend.Event {
	switch e := l.Event; e.Type {
	case "message_start":
		cut := m.stop == "max_tokens"
		m.streamed, m.stop = e.Message.ID, ""
		m.starts = nil
		m.answer.Stirred = true
		if cut {
			m.answer.Begin() // the CLI has the model go on in mid-word
		} else {
			m.answer.Next()
		}
	case "content_block_start":
		m.blockStart(e.Index)
	case "content_block_delta":
		switch e.Delta.Type {
		case "text_delta":
			return m.answer.Text(string(e.Delta.Text))
		case "thinking_delta":
			return m.answer.Think(string(e.Delta.Thinking))
		}
	case "message_delta":
		m.stop = e.Delta.StopReason
	case "message_stop":
		return m.abandoned(l)
	}
	return nil
}

// blocksMax bounds the blocks remembered of one message.
const blocksMax = 4096

func (m *Machine) blockStart(index int) {
	if m.starts == nil {
		m.starts = map[int]int{} // a block of a message whose start was lost
	}
	if len(m.starts) < blocksMax {
		m.starts[index] = m.answer.Sent
	}
	m.answer.Begin()
}

// abandoned takes back what a broken stream said.
func (m *Machine) abandoned(l outputLine) []backend.Event {
	if l.Abandoned == nil {
		return nil
	}
	keep, ok := m.starts[l.Abandoned.From]
	if !ok {
		return nil
	}
	return m.answer.Void(keep)
}

func (m *Machine) assistant(l outputLine) []backend.Event {
	if l.Message.Model == "<synthetic>" {
		m.wrong = l.Error
		return nil // the CLI's own words about an error; the result line has them
	}
	m.answer.Stirred = true
	var events []backend.Event
	blocks := l.Message.blocks()
	for _, b := range blocks {
		switch b.Type {
		case "text":
			if l.Parent == nil {
				events = append(events, m.whole(l.Message.ID, string(b.Text), len(blocks) == 1)...)
			}
		case "tool_use":
			m.Tools.Put(b.ID, b.Name)
			events = append(events, backend.Event{Kind: backend.ToolUse, Tool: &backend.Tool{
				ID: b.ID, Name: b.Name, Status: "started", Input: parse.RawText(b.Input),
			}})
		}
	}
	return events
}

// whole is a text block of a message. Of one that was streamed it is the open
// block, when it comes alone.
func (m *Machine) whole(id, text string, alone bool) []backend.Event {
	switch {
	case id == m.streamed && alone:
		return m.answer.Rest(text)
	case id == m.streamed:
		return nil
	case id != m.spoken:
		m.spoken = id
		m.answer.Next()
	default:
		m.answer.Begin()
	}
	return m.answer.Text(text)
}

func (m *Machine) toolResults(l outputLine) []backend.Event {
	var events []backend.Event
	for _, b := range l.Message.blocks() {
		if b.Type != "tool_result" {
			continue
		}
		status := "completed"
		if b.IsError {
			status = "failed"
		}
		events = append(events, backend.Event{Kind: backend.ToolUse, Tool: &backend.Tool{
			ID: b.ToolUseID, Name: m.Tools.Take(b.ToolUseID), Status: status, Output: parse.ContentText(b.Content),
		}})
	}
	return events
}

func (m *Machine) result(l outputLine) []backend.Event {
	var turn totals
	turn.add(l.Usage)
	m.answer.Stirred = m.answer.Stirred || len(turn.report(nil)) > 0
	m.usage.add(l.Usage)
	events := m.usage.report(l.TotalCostUSD)
	m.output, m.words = nil, parse.Bound(string(l.Result), parse.NoticeMax)
	if string(l.Structured) != "null" {
		m.output = bytes.Clone(l.Structured)
	}
	finish := parse.FinishReason(m.stopped(l))
	switch {
	case !l.IsError:
		events = append(events, m.answer.Last(string(l.Result))...)
	case finish != "stop":
		events = append(events, backend.Event{Kind: backend.Notice, Text: parse.Bound(l.failure("").Message, parse.NoticeMax)})
	default:
		return append(append(events, m.answer.Flush()...), backend.Event{Kind: backend.Failed, Failure: l.failure(m.wrong)})
	}
	return append(append(events, m.answer.Flush()...), m.answer.Done(finish))
}

// stopped is why the model stopped. The CLI makes errors of a refusal, and of a
// token limit at which it had the model go on a few times (2.1.330).
func (m *Machine) stopped(l outputLine) string {
	switch {
	case l.IsError && l.APIErrorStatus != nil:
		return "" // the provider answered with an error
	case l.IsError && m.stop == "max_tokens", l.StopReason == "":
		return m.stop
	}
	return l.StopReason
}

func (l outputLine) failure(word string) *backend.Failure {
	message := string(l.Result)
	if message == "" {
		message = strings.Join(l.Errors, "; ")
	}
	status := 0
	if l.APIErrorStatus != nil {
		status = *l.APIErrorStatus
	}
	f := parse.ProviderFailure(status, message)
	switch {
	case status != 0:
	case strings.HasPrefix(message, "No conversation found with session ID"): // 2.1.330
		f.SessionUnknown = true
	case l.Subtype == "error_max_structured_output_retries":
		f.Code = "invalid_output"
	case word == "authentication_failed", word == "oauth_org_not_allowed":
		f.Code = "provider_auth" // no login, also before any call
	case word == "rate_limit":
		f.Code = "provider_rate_limit"
	case l.TerminalReason == "api_error":
		f.Code = "provider_error" // a stream that broke, or no connection at all
	}
	return f
}
