package codex

import (
	"penstock/backend"
	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
)

// notified follows the turn.
func (m *machine) notified(message jsonrpc.Message) {
	var p notification
	if !parse.Decode(message.Params, &p) {
		return
	}
	if message.Method == "turn/started" && m.thread != "" && p.ThreadID == m.thread && m.turn == "" {
		m.turn = p.Turn.ID
	}
	if !m.ours(p) {
		m.aside(message.Method, p)
		return
	}
	switch message.Method {
	case "item/agentMessage/delta":
		m.emit(m.text.delta(p.ItemID, string(p.Delta))...)
	case "item/reasoning/textDelta", "item/reasoning/summaryTextDelta":
		m.emit(m.text.answer.Think(m.reasoning.delta(p.ItemID, string(p.Delta)))...)
	case "item/reasoning/summaryPartAdded":
		m.reasoning.part()
	case "item/started":
		m.item(p, false)
	case "item/completed":
		m.item(p, true)
	case "thread/tokenUsage/updated":
		m.text.answer.Stirred = true
		m.emit(m.usage.update(p)...)
	case "error":
		m.failed(p)
	case "model/rerouted":
		m.notice("codex answers with the model " + p.ToModel + " instead of " + p.FromModel)
	case "turn/completed":
		m.completed(p)
	}
}

// aside takes what belongs to no turn of ours: warnings, and what the agents
// used that the model started itself, each in a thread of its own.
func (m *machine) aside(method string, p notification) {
	switch {
	case method == "warning" && (p.ThreadID == "" || p.ThreadID == m.thread):
		m.notice(p.Message)
	case method == "thread/tokenUsage/updated" && m.turn != "" && p.ThreadID != m.thread:
		m.emit(m.usage.update(p)...)
	}
}

func (m *machine) notice(text string) {
	if text != "" {
		m.emit(backend.Event{Kind: backend.Notice, Text: parse.Bound(text, parse.NoticeMax)})
	}
}

// failed tells of a retry at once. An error without one is told again, and for
// good, by turn/completed; some errors without one don't end the turn.
func (m *machine) failed(p notification) {
	switch {
	case p.Error == nil:
	case p.Error.finish() == "content_filter":
		m.end(m.text.answer.Done("content_filter")) // no retry mends that
	case p.WillRetry:
		m.emit(m.text.broken()...)
		m.notice(p.Error.Text())
	default:
		m.failure = p.Error
	}
}

func (m *machine) completed(p notification) {
	switch {
	case p.Turn.Status == "completed":
		if m.failure != nil {
			m.notice(m.failure.Text())
		}
		m.end(m.text.answer.Done("stop"))
	case p.Turn.Error != nil:
		m.endFailed(*p.Turn.Error)
	case m.failure != nil:
		m.endFailed(*m.failure)
	default:
		m.end(backend.Event{Kind: backend.Failed, Failure: parse.ProviderFailure(0, "the turn ended as "+p.Turn.Status)})
	}
}

func (m *machine) item(p notification, completed bool) {
	var item threadItem
	if !parse.Decode(p.Item, &item) {
		return
	}
	switch item.Type {
	case "agentMessage":
		if completed {
			m.emit(m.text.completed(item)...)
		}
	case "reasoning":
		if completed {
			m.emit(m.text.answer.Think(m.reasoning.completed(item))...)
		}
	default:
		if tool := item.tool(completed); tool != nil {
			m.text.answer.Stirred = true
			m.emit(backend.Event{Kind: backend.ToolUse, Tool: tool})
		}
	}
}

// tokenCounts are the counts of one model call, or of all of a thread's.
type tokenCounts struct {
	Input     parse.Count `json:"inputTokens"` // cached ones included
	Cached    parse.Count `json:"cachedInputTokens"`
	Output    parse.Count `json:"outputTokens"`
	Reasoning parse.Count `json:"reasoningOutputTokens"`
}

func (t tokenCounts) minus(before tokenCounts) tokenCounts {
	return tokenCounts{t.Input.Minus(before.Input), t.Cached.Minus(before.Cached), t.Output.Minus(before.Output), t.Reasoning.Minus(before.Reasoning)}
}

// usage sums the model calls of this turn. The same call may be told again
// (with new rate limits): then the thread's total has not moved.
type usage struct {
	totals                           map[string]tokenCounts // by thread
	input, cached, output, reasoning parse.Total
}

// threadsMax bounds the threads whose totals are remembered.
const threadsMax = 256

func (u *usage) update(p notification) []backend.Event {
	last, total := p.TokenUsage.Last, p.TokenUsage.Total
	before, seen := u.totals[p.ThreadID]
	if total == before {
		return nil
	}
	// Of a call that was cut short only the total tells (0.169.0).
	if seen && !last.Input.Some() && !last.Output.Some() {
		last = total.minus(before)
	}
	if u.totals == nil {
		u.totals = map[string]tokenCounts{}
	}
	if _, known := u.totals[p.ThreadID]; known || len(u.totals) < threadsMax {
		u.totals[p.ThreadID] = total
	}
	u.input.Add(last.Input)
	u.cached.Add(last.Cached)
	u.output.Add(last.Output)
	u.reasoning.Add(last.Reasoning)
	return parse.Tokens{Prompt: u.input.Sum, Completion: u.output.Sum, Cached: u.cached.Sum, Reasoning: u.reasoning.Sum}.Report(nil)
}

// anew says that a thread has just been started: its total is nothing yet.
func (u *usage) anew(thread string) {
	zero := parse.Count{State: parse.Known}
	u.totals = map[string]tokenCounts{thread: {zero, zero, zero, zero}}
}
