package pi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// outputLine is one line of `--mode json` or `--mode rpc` (pi 0.87.1), as far as it
// matters here.
type outputLine struct {
	Type    string  `json:"type"`
	ID      string  `json:"id"` // session; response and extension_ui_request, of the request
	Message message `json:"message"`
	Update  struct {
		Type    string         `json:"type"`
		Delta   parse.JSONText `json:"delta"`
		Content parse.JSONText `json:"content"` // text_end: the block, whole
	} `json:"assistantMessageEvent"`

	ToolCallID string          `json:"toolCallId"`
	ToolName   string          `json:"toolName"`
	Args       json.RawMessage `json:"args"`
	Result     struct {
		Content json.RawMessage `json:"content"`
	} `json:"result"`
	IsError bool `json:"isError"`

	Attempt      int    `json:"attempt"` // auto_retry_start
	MaxAttempts  int    `json:"maxAttempts"`
	ErrorMessage string `json:"errorMessage"`

	Method  string `json:"method"`  // extension_ui_request
	Command string `json:"command"` // response
	Success bool   `json:"success"`
	Error   string `json:"error"`
	Data    struct {
		Session string `json:"sessionId"`
		Model   *struct {
			ID       string   `json:"id"`
			Provider string   `json:"provider"`
			Input    []string `json:"input"` // "text", "image"
		} `json:"model"`
	} `json:"data"`
}

type message struct {
	Role         string `json:"role"`
	StopReason   string `json:"stopReason"`
	RawStop      string `json:"rawStopReason"` // the provider's own word
	ErrorMessage string `json:"errorMessage"`
	Usage        *usage `json:"usage"`
}

type usage struct {
	Input      parse.Count `json:"input"` // without cached ones
	Output     parse.Count `json:"output"`
	CacheRead  parse.Count `json:"cacheRead"`
	CacheWrite parse.Count `json:"cacheWrite"`
	Reasoning  parse.Count `json:"reasoning"`
	Cost       struct {
		Total *float64 `json:"total"`
	} `json:"cost"`
}

// totals are the figures of all model calls of the run.
type totals struct {
	prompt, completion, cached, reasoning parse.Total
	cost                                  *float64
	unpriced                              bool // a call told no price
}

// add counts one more call of the model in.
func (t *totals) add(u usage) {
	t.prompt.Add(u.Input.With(u.CacheRead, u.CacheWrite))
	t.completion.Add(u.Output)
	t.cached.Add(u.CacheRead)
	t.reasoning.Add(u.Reasoning)
	cost := parse.Price(u.Cost.Total)
	t.unpriced = t.unpriced || cost == nil
	switch {
	case t.unpriced:
		t.cost = nil
	case t.cost == nil:
		t.cost = cost
	default:
		sum := *t.cost + *cost
		t.cost = &sum
	}
}

func (t totals) report() []backend.Event {
	return parse.Tokens{Prompt: t.prompt.Sum, Completion: t.completion.Sum, Cached: t.cached.Sum, Reasoning: t.reasoning.Sum}.Report(t.cost)
}

// machine parses pi's lines. pi exits with 0 whatever happened: how the last
// message of the model stopped is what counts, once the agent has settled.
type machine struct {
	answer  parse.Answer
	start   int // answer text before the current message
	last    message
	usage   totals
	session string // named, not yet on disk
	ended   bool
}

func (m *machine) Open() [][]byte { return nil }

func (m *machine) Close() []backend.Event { return m.answer.Flush() }

func (m *machine) Line(line []byte) ([]backend.Event, [][]byte) {
	l, stray, ok := m.read(line)
	if !ok {
		return stray, nil
	}
	return m.take(l), nil
}

// read is false for a line that is none of the protocol's, or comes after the end.
func (m *machine) read(line []byte) (l outputLine, stray []backend.Event, ok bool) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return l, nil, false
	}
	if !parse.Decode(line, &l) {
		return l, []backend.Event{parse.StrayLine(line)}, false
	}
	return l, nil, true
}

func (m *machine) take(l outputLine) []backend.Event {
	switch l.Type {
	case "session":
		m.session = l.ID
	case "message_start":
		return m.messageStart(l.Message)
	case "message_update":
		return m.update(l)
	case "message_end":
		return m.messageEnd(l.Message)
	case "tool_execution_start", "tool_execution_end":
		m.answer.Stirred = true
		return []backend.Event{{Kind: backend.ToolUse, Tool: l.tool()}}
	case "auto_retry_start":
		return m.retry(l)
	case "agent_settled":
		m.ended = true
		return append(m.answer.Flush(), m.settled())
	}
	return nil
}

func (m *machine) messageStart(message message) []backend.Event {
	if message.Role != "assistant" {
		return nil
	}
	events := m.voidFailed()
	m.start = m.answer.Next()
	m.answer.Stirred = true
	return events
}

func (m *machine) update(l outputLine) []backend.Event {
	switch l.Update.Type {
	case "text_delta":
		return m.answer.Text(string(l.Update.Delta))
	case "text_start":
		m.answer.Begin()
	case "text_end":
		return m.answer.Rest(string(l.Update.Content))
	case "thinking_delta":
		return m.answer.Think(string(l.Update.Delta))
	}
	return nil
}

func (m *machine) messageEnd(message message) []backend.Event {
	if message.Role != "assistant" {
		return nil
	}
	m.last = message
	m.answer.Stirred = true
	events := m.saved()
	if message.Usage == nil || message.StopReason == "error" && !message.Usage.Output.Some() {
		return events // pi doesn't know what a broken call used
	}
	m.usage.add(*message.Usage)
	return append(events, m.usage.report()...)
}

// saved tells the session's id once: pi names it at the start, but writes it to
// disk with the first answer; before that it can't be resumed (0.87.1).
func (m *machine) saved() []backend.Event {
	if m.session == "" {
		return nil
	}
	id := m.session
	m.session = ""
	return []backend.Event{{Kind: backend.Session, Session: id}}
}

func (l outputLine) tool() *backend.Tool {
	t := &backend.Tool{ID: l.ToolCallID, Name: l.ToolName, Status: "started", Input: parse.RawText(l.Args)}
	if l.Type == "tool_execution_end" {
		t.Status, t.Input, t.Output = "completed", "", parse.ContentText(l.Result.Content)
		if l.IsError {
			t.Status = "failed"
		}
	}
	return t
}

func (m *machine) retry(l outputLine) []backend.Event {
	text := fmt.Sprintf("the model's provider failed, retry %d of %d: %s", l.Attempt, l.MaxAttempts, l.ErrorMessage)
	return append(m.voidFailed(), backend.Event{Kind: backend.Notice, Text: parse.Bound(text, parse.NoticeMax)})
}

// voidFailed takes back what a failed message said: another one follows.
func (m *machine) voidFailed() []backend.Event {
	if m.last.StopReason != "error" {
		return nil
	}
	m.last = message{}
	return m.answer.Void(m.start)
}

func (m *machine) settled() backend.Event {
	switch m.last.StopReason {
	case "stop", "length":
		return m.answer.Done(m.last.StopReason)
	case "error":
		if refused(m.last) {
			return m.answer.Done("content_filter")
		}
		f := parse.ProviderFailure(parse.StatusIn(m.last.ErrorMessage), m.last.ErrorMessage)
		switch {
		case f.Status != 0:
		case noLogin(m.last.ErrorMessage):
			f.Code = "provider_auth"
		default:
			f.Code = "provider_error" // the stream broke, or no connection at all
		}
		return backend.Event{Kind: backend.Failed, Failure: f}
	}
	message := fmt.Sprintf("pi settled without an answer (last message: %q) %s", m.last.StopReason, m.last.ErrorMessage)
	return backend.Event{Kind: backend.Failed, Failure: parse.ProviderFailure(0, message)}
}

// refused: pi makes an error of a refusal for safety, and tells the provider's
// word beside it or in the message, or has a sentence of its own (0.87.1, 1.6.0).
func refused(m message) bool {
	if parse.FinishReason(m.RawStop) == "content_filter" || strings.HasSuffix(m.RawStop, ".content_filter") {
		return true
	}
	for _, said := range []string{"Provider finish_reason: ", "Provider stopped with: "} {
		if word, ok := strings.CutPrefix(m.ErrorMessage, said); ok {
			return parse.FinishReason(word) == "content_filter"
		}
	}
	return m.ErrorMessage == "The model refused to complete the request"
}

// NoLogin: what pi says where it has no key for the model's provider.
func noLogin(message string) bool {
	return strings.HasPrefix(message, "No API key ") || strings.Contains(message, "API key is required")
}
