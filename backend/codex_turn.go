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
		return
	}
	switch message.Method {
	case "item/agentMessage/delta":
		m.emit(m.text.delta(p.ItemID, p.Delta)...)
	case "item/reasoning/textDelta", "item/reasoning/summaryTextDelta":
		m.emit(m.reasoning.delta(p.ItemID, p.Delta)...)
	case "item/reasoning/summaryPartAdded":
		m.reasoning.part()
	case "item/started":
		m.item(p, false)
	case "item/completed":
		m.item(p, true)
	case "thread/tokenUsage/updated":
		m.emit(m.usage.update(p.TokenUsage.Last, p.TokenUsage.Total)...)
	case "error":
		m.failed(p)
	case "turn/completed":
		m.completed(p)
	}
}

// failed tells of a retry at once. An error without one is told again, and for
// good, by turn/completed; some errors without one don't end the turn.
func (m *codexMachine) failed(p codexParams) {
	if p.Error == nil {
		return
	}
	if p.WillRetry {
		m.emit(m.text.broken()...)
	}
	m.emit(Event{Kind: Notice, Text: bound(p.Error.text(), noticeMax)})
}

func (m *codexMachine) completed(p codexParams) {
	switch {
	case p.Turn.Status == "completed":
		m.emit(m.text.broken()...)
		m.end(Event{Kind: Done, Finish: "stop"})
	case p.Turn.Error != nil:
		m.end(Event{Kind: Failed, Failure: p.Turn.Error.failure()})
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
			m.emit(m.text.completed(item.ID, item.Text)...)
		}
	case "reasoning":
		if completed {
			m.emit(m.reasoning.completed(item)...)
		}
	default:
		if tool := item.tool(completed); tool != nil {
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
	length int    // of it, so far
}

func (t *codexText) delta(item, text string) []Event {
	if text == "" {
		return nil
	}
	events := t.open(item)
	t.length += len(text)
	return append(events, t.answer.text(text)...)
}

func (t *codexText) open(item string) []Event {
	if item == t.item {
		return nil
	}
	events := t.broken()
	t.item, t.length = item, 0
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

// completed closes a message; what its deltas did not bring comes now.
func (t *codexText) completed(item, text string) []Event {
	events := t.open(item)
	if len(text) > t.length {
		events = append(events, t.answer.text(text[t.length:])...)
	}
	t.item = ""
	return events
}

// codexTokens are the counts of one model call, or of all of a thread's.
type codexTokens struct {
	Input     int64 `json:"inputTokens"` // cached ones included
	Cached    int64 `json:"cachedInputTokens"`
	Output    int64 `json:"outputTokens"`
	Reasoning int64 `json:"reasoningOutputTokens"`
}

// codexUsage sums the model calls of this turn. The same call may be told again
// (with new rate limits): then the thread's total has not moved.
type codexUsage struct {
	total codexTokens
	sum   codexTokens
}

func (u *codexUsage) update(last, total codexTokens) []Event {
	if total == u.total {
		return nil
	}
	u.total = total
	u.sum.Input += last.Input
	u.sum.Cached += last.Cached
	u.sum.Output += last.Output
	u.sum.Reasoning += last.Reasoning
	sum := u.sum
	return []Event{{Kind: UsageReport, Usage: &Usage{
		PromptTokens:     sum.Input,
		CompletionTokens: sum.Output,
		CachedTokens:     &sum.Cached,
		ReasoningTokens:  &sum.Reasoning,
	}}}
}
