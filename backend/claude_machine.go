package backend

import (
	"bytes"
	"fmt"
	"strings"
)

// claudeMachine parses claude's lines. Text comes twice, as deltas and again as
// whole blocks: the deltas count, and the blocks only of a message that was not
// streamed (the CLI's fallback after a broken stream).
type claudeMachine struct {
	session  string
	answer   answer
	streamed string      // id of the last message that came as deltas
	spoken   string      // id of the last message that came whole
	starts   map[int]int // block index of the streamed message -> answer text before it
	tools    toolNames   // of tool uses without a result yet
	stop     string      // stop_reason of the last message
	ended    bool
}

func (m *claudeMachine) Open() [][]byte { return nil }
func (m *claudeMachine) Close() []Event { return nil }

func (m *claudeMachine) Line(line []byte) ([]Event, [][]byte) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	var l claudeLine
	if !decode(line, &l) {
		return []Event{strayLine(line)}, nil
	}
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
	return events, nil
}

func (m *claudeMachine) sessionOf(l claudeLine) []Event {
	known := l.Type == "result" || l.Type == "system" && l.Subtype == "init"
	if !known || l.SessionID == "" || l.SessionID == m.session {
		return nil
	}
	m.session = l.SessionID
	return []Event{{Kind: Session, Session: l.SessionID}}
}

func (l claudeLine) retryNotice() []Event {
	if l.Subtype != "api_retry" {
		return nil
	}
	text := fmt.Sprintf("the model's provider failed, retry %d of %d", l.Attempt, l.MaxRetries)
	if l.ErrorStatus != nil {
		text += fmt.Sprintf(" (status %d)", *l.ErrorStatus)
	}
	return []Event{{Kind: Notice, Text: text}}
}

func (m *claudeMachine) stream(l claudeLine) []Event {
	switch e := l.Event; e.Type {
	case "message_start":
		m.streamed, m.stop = e.Message.ID, ""
		m.starts = nil
		m.answer.next()
	case "content_block_start":
		m.blockStart(e.Index)
	case "content_block_delta":
		switch e.Delta.Type {
		case "text_delta":
			return m.answer.text(e.Delta.Text)
		case "thinking_delta":
			if e.Delta.Thinking != "" {
				return []Event{{Kind: Reasoning, Text: e.Delta.Thinking}}
			}
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

func (m *claudeMachine) blockStart(index int) {
	if m.starts == nil {
		m.starts = map[int]int{} // a block of a message whose start was lost
	}
	if len(m.starts) < blocksMax {
		m.starts[index] = m.answer.sent
	}
}

// abandoned takes back what a broken stream said.
func (m *claudeMachine) abandoned(l claudeLine) []Event {
	if l.Abandoned == nil {
		return nil
	}
	keep, ok := m.starts[l.Abandoned.From]
	if !ok {
		return nil
	}
	return m.answer.void(keep)
}

func (m *claudeMachine) assistant(l claudeLine) []Event {
	if l.Message.Model == "<synthetic>" {
		return nil // the CLI's own words about an error; the result line has them
	}
	var events []Event
	for _, b := range l.Message.blocks() {
		switch b.Type {
		case "text":
			if l.Parent == nil && l.Message.ID != m.streamed {
				events = append(events, m.whole(l.Message.ID, b.Text)...)
			}
		case "tool_use":
			m.tools.put(b.ID, b.Name)
			events = append(events, Event{Kind: ToolUse, Tool: &Tool{
				ID: b.ID, Name: b.Name, Status: "started", Input: rawText(b.Input),
			}})
		}
	}
	return events
}

// whole is a text block of a message that was not streamed.
func (m *claudeMachine) whole(id, text string) []Event {
	if id != m.spoken {
		m.spoken = id
		m.answer.next()
	}
	return m.answer.text(text)
}

func (m *claudeMachine) toolResults(l claudeLine) []Event {
	var events []Event
	for _, b := range l.Message.blocks() {
		if b.Type != "tool_result" {
			continue
		}
		status := "completed"
		if b.IsError {
			status = "failed"
		}
		events = append(events, Event{Kind: ToolUse, Tool: &Tool{
			ID: b.ToolUseID, Name: m.tools.take(b.ToolUseID), Status: status, Output: contentText(b.Content),
		}})
	}
	return events
}

func (m *claudeMachine) result(l claudeLine) []Event {
	events := l.claudeResult.report()
	if l.IsError {
		return append(events, Event{Kind: Failed, Failure: l.failure()})
	}
	finish := "stop"
	if l.StopReason == "max_tokens" || l.StopReason == "" && m.stop == "max_tokens" {
		finish = "length"
	}
	return append(events, Event{Kind: Done, Finish: finish})
}

func (l claudeLine) failure() *Failure {
	message := l.Result
	if message == "" {
		message = strings.Join(l.Errors, "; ")
	}
	status := 0
	if l.APIErrorStatus != nil {
		status = *l.APIErrorStatus
	}
	f := providerFailure(status, message)
	if status == 0 && l.TerminalReason == "api_error" {
		f.Code = "provider_error" // a stream that broke, or no connection at all
	}
	return f
}
