package gemini

import (
	"bytes"
	"encoding/json"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
	"penstock/backend/provider"
)

// outputLine is one line of `--output-format stream-json` (gemini 0.61.0): the
// fields of all types that count.
type outputLine struct {
	Type       string          `json:"type"`
	SessionID  string          `json:"session_id"`
	Role       string          `json:"role"`
	Content    parse.JSONText  `json:"content"`
	ToolName   string          `json:"tool_name"`
	ToolID     string          `json:"tool_id"`
	Parameters json.RawMessage `json:"parameters"`
	Status     string          `json:"status"` // success, error
	Output     json.RawMessage `json:"output"`
	Message    string          `json:"message"`
	Error      struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
	Stats struct {
		Input  parse.Count `json:"input_tokens"` // cached ones included
		Output parse.Count `json:"output_tokens"`
		Cached parse.Count `json:"cached"`
	} `json:"stats"`
}

// report is the usage of the run.
func (l outputLine) report() []backend.Event {
	return parse.Tokens{Prompt: l.Stats.Input, Completion: l.Stats.Output, Cached: l.Stats.Cached}.Report(nil)
}

// tool is a step of the CLI's own tools.
func (l outputLine) tool(names *parse.ToolNames) backend.Event {
	if l.Type == "tool_use" {
		names.Put(l.ToolID, l.ToolName)
		return backend.Event{Kind: backend.ToolUse, Tool: &backend.Tool{ID: l.ToolID, Name: l.ToolName, Status: "started", Input: parse.RawText(l.Parameters)}}
	}
	t := &backend.Tool{ID: l.ToolID, Name: names.Take(l.ToolID), Status: "completed", Output: parse.RawText(l.Output)}
	if l.Status != "success" {
		t.Status = "failed"
		if t.Output == "" {
			t.Output = parse.Bound(l.Error.Message, backend.ToolTextMax)
		}
	}
	return backend.Event{Kind: backend.ToolUse, Tool: t}
}

// statusOf finds the provider's status in an error's text, for a login whose
// model calls don't go through fetch. For 429 the CLI puts advice of its own
// where the provider's message has no status.
func statusOf(message string) int {
	for _, advice := range []string{"request a quota increase through", "Possible quota limitations in place"} {
		if strings.Contains(message, advice) {
			return 429
		}
	}
	return parse.StatusIn(message)
}

// machine parses the CLI's lines. Thoughts are not among them. The user's
// own message is, and is no part of the answer.
type machine struct {
	answer parse.Answer
	calls  provider.Calls
	tools  parse.ToolNames
	told   string // the CLI's last error line
	ended  bool
}

func (m *machine) Open() [][]byte { return nil }

func (m *machine) Close() []backend.Event { return m.answer.Flush() }

func (m *machine) Line(line []byte) ([]backend.Event, [][]byte) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	if l, ok := provider.ParseLine(line); ok {
		return m.provider(l), nil
	}
	var l outputLine
	if !parse.Decode(line, &l) {
		return []backend.Event{parse.StrayLine(line)}, nil
	}
	return m.line(l), nil
}

func (m *machine) line(l outputLine) []backend.Event {
	switch l.Type {
	case "init":
		if l.SessionID != "" {
			return []backend.Event{{Kind: backend.Session, Session: l.SessionID}}
		}
	case "message":
		if l.Role == "assistant" {
			return m.answer.Text(string(l.Content))
		}
	case "tool_use", "tool_result":
		m.answer.Next()
		m.answer.Stirred = true
		return []backend.Event{l.tool(&m.tools)}
	case "error":
		m.told = l.Message
		return []backend.Event{{Kind: backend.Notice, Text: parse.Bound(l.Message, parse.NoticeMax)}}
	case "result":
		m.ended = true
		events := l.report()
		m.answer.Stirred = m.answer.Stirred || len(events) > 0
		return append(append(events, m.answer.Flush()...), m.result(l))
	}
	return nil
}

// refusalsMax is how many refusals in a row a run may take where the CLI's
// own limit could not be set: one retry, not ten.
const refusalsMax = 2

func (m *machine) provider(l provider.Line) []backend.Event {
	events := m.calls.Take(l, &m.answer)
	m.answer.Stirred = true
	if f := m.calls.Hopeless(refusalsMax, 0); f != nil {
		m.ended = true
		events = append(append(events, m.answer.Flush()...), backend.Event{Kind: backend.Failed, Failure: f})
	}
	return events
}

func (m *machine) result(l outputLine) backend.Event {
	finish := parse.FinishReason(m.calls.Finish)
	if l.Status != "success" && (finish == "stop" || m.calls.Failure() != nil) {
		return backend.Event{Kind: backend.Failed, Failure: m.failure(l)}
	}
	return m.answer.Done(finish)
}

func (m *machine) failure(l outputLine) *backend.Failure {
	message := l.Error.Message
	if message == "" {
		message = m.told
	}
	status := m.calls.Refused
	if status == 0 && m.calls.Broken == "" {
		status = statusOf(message)
	}
	f := parse.ProviderFailure(status, message)
	switch {
	case status != 0:
	case strings.Contains(l.Error.Type, "Authentication"):
		f.Code = "provider_auth"
	case m.calls.Broken != "", strings.Contains(message, "Model stream ended"):
		f.Code = "provider_error" // a stream that broke, or no connection at all
	}
	return f
}
