package backend

// notified follows the turn.
func (m *codexMachine) notified(message rpcMessage) {
	var p codexParams
	if !decode(message.Params, &p) {
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
		m.emit(m.text.answer.think(m.reasoning.delta(p.ItemID, string(p.Delta)))...)
	case "item/reasoning/summaryPartAdded":
		m.reasoning.part()
	case "item/started":
		m.item(p, false)
	case "item/completed":
		m.item(p, true)
	case "thread/tokenUsage/updated":
		m.text.answer.stirred = true
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
func (m *codexMachine) aside(method string, p codexParams) {
	switch {
	case method == "warning" && (p.ThreadID == "" || p.ThreadID == m.thread):
		m.notice(p.Message)
	case method == "thread/tokenUsage/updated" && m.turn != "" && p.ThreadID != m.thread:
		m.emit(m.usage.update(p)...)
	}
}

func (m *codexMachine) notice(text string) {
	if text != "" {
		m.emit(Event{Kind: Notice, Text: bound(text, noticeMax)})
	}
}

// failed tells of a retry at once. An error without one is told again, and for
// good, by turn/completed; some errors without one don't end the turn.
func (m *codexMachine) failed(p codexParams) {
	switch {
	case p.Error == nil:
	case p.Error.finish() == "content_filter":
		m.end(m.text.answer.done("content_filter")) // no retry mends that
	case p.WillRetry:
		m.emit(m.text.broken()...)
		m.notice(p.Error.text())
	default:
		m.failure = p.Error
	}
}

func (m *codexMachine) completed(p codexParams) {
	switch {
	case p.Turn.Status == "completed":
		if m.failure != nil {
			m.notice(m.failure.text())
		}
		m.end(m.text.answer.done("stop"))
	case p.Turn.Error != nil:
		m.endFailed(*p.Turn.Error)
	case m.failure != nil:
		m.endFailed(*m.failure)
	default:
		m.end(Event{Kind: Failed, Failure: providerFailure(0, "the turn ended as "+p.Turn.Status)})
	}
}

func (m *codexMachine) item(p codexParams, completed bool) {
	var item codexItem
	if !decode(p.Item, &item) {
		return
	}
	switch item.Type {
	case "agentMessage":
		if completed {
			m.emit(m.text.completed(item.ID, string(item.Text))...)
		}
	case "reasoning":
		if completed {
			m.emit(m.text.answer.think(m.reasoning.completed(item))...)
		}
	default:
		if tool := item.tool(completed); tool != nil {
			m.text.answer.stirred = true
			m.emit(Event{Kind: ToolUse, Tool: tool})
		}
	}
}

// codexText puts the answer together from agent messages. A message that was
// begun and never completed is void once another begins: codex tries a broken
// stream again from its first token, under a new item id.
type codexText struct {
	answer answer
	item   string // the message that is open
	start  int    // answer text before it
}

func (t *codexText) delta(item, text string) []Event {
	if text == "" {
		return nil
	}
	return append(t.open(item), t.answer.text(text)...)
}

func (t *codexText) open(item string) []Event {
	if item == t.item {
		return nil
	}
	events := t.broken()
	t.item = item
	t.start = t.answer.next()
	return events
}

// broken voids the open message, if there is one.
func (t *codexText) broken() []Event {
	if t.item == "" {
		return nil
	}
	t.item = ""
	return t.answer.void(t.start)
}

// completed closes a message; what its deltas don't have comes now.
func (t *codexText) completed(item, text string) []Event {
	events := append(t.open(item), t.answer.rest(text)...)
	t.item = ""
	return events
}

// codexTokens are the counts of one model call, or of all of a thread's.
type codexTokens struct {
	Input     count `json:"inputTokens"` // cached ones included
	Cached    count `json:"cachedInputTokens"`
	Output    count `json:"outputTokens"`
	Reasoning count `json:"reasoningOutputTokens"`
}

func (t codexTokens) minus(before codexTokens) codexTokens {
	return codexTokens{t.Input.minus(before.Input), t.Cached.minus(before.Cached), t.Output.minus(before.Output), t.Reasoning.minus(before.Reasoning)}
}

// codexUsage sums the model calls of this turn. The same call may be told again
// (with new rate limits): then the thread's total has not moved.
type codexUsage struct {
	totals                           map[string]codexTokens // by thread
	input, cached, output, reasoning total
}

// codexThreadsMax bounds the threads whose totals are remembered.
const codexThreadsMax = 256

func (u *codexUsage) update(p codexParams) []Event {
	last, total := p.TokenUsage.Last, p.TokenUsage.Total
	before, seen := u.totals[p.ThreadID]
	if total == before {
		return nil
	}
	// Of a call that was cut short only the total tells (0.169.0).
	if seen && !last.Input.some() && !last.Output.some() {
		last = total.minus(before)
	}
	if u.totals == nil {
		u.totals = map[string]codexTokens{}
	}
	if _, known := u.totals[p.ThreadID]; known || len(u.totals) < codexThreadsMax {
		u.totals[p.ThreadID] = total
	}
	u.input.add(last.Input)
	u.cached.add(last.Cached)
	u.output.add(last.Output)
	u.reasoning.add(last.Reasoning)
	return tokens{u.input.sum, u.output.sum, u.cached.sum, u.reasoning.sum}.report(nil)
}

// anew says that a thread has just been started: its total is nothing yet.
func (u *codexUsage) anew(thread string) {
	zero := count{state: known}
	u.totals = map[string]codexTokens{thread: {zero, zero, zero, zero}}
}
