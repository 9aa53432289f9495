package backend

import (
	"bytes"
	"encoding/json"
)

// jsonlLine is one line of our own protocol. A line may carry several of them;
// they take effect in the order of the fields here.
//
//	{"session":"id"}                        the program's own id, to resume by
//	{"void":12}                             answer text after 12 bytes is void
//	{"reasoning":"..."} {"text":"..."}      thinking, answer
//	{"tool":{"name":"sh","status":"started","id":"1","input":"ls"}}
//	{"notice":"..."}                        a warning, not part of the answer
//	{"usage":{"prompt_tokens":1,"completion_tokens":2,"cached_tokens":0,"reasoning_tokens":0,"cost_usd":0.1}}
//	{"error":"message"} or {"error":{"message":"...","status":429}}
//	{"error":{"message":"...","session_unknown":true}}   nothing was done: start me without the session
//	{"done":true}, {"done":"length"} or {"done":"content_filter"}
type jsonlLine struct {
	Session   string          `json:"session"`
	Void      *int            `json:"void"`
	Reasoning words           `json:"reasoning"`
	Text      words           `json:"text"`
	Tool      *Tool           `json:"tool"`
	Notice    string          `json:"notice"`
	Usage     jsonlUsage      `json:"usage"`
	Error     json.RawMessage `json:"error"`
	Done      json.RawMessage `json:"done"`
}

type jsonlUsage struct {
	Prompt     count    `json:"prompt_tokens"`
	Completion count    `json:"completion_tokens"`
	Cached     count    `json:"cached_tokens"`
	Reasoning  count    `json:"reasoning_tokens"`
	CostUSD    *float64 `json:"cost_usd"`
}

func (u jsonlUsage) words() Usage {
	return tokens{u.Prompt, u.Completion, u.Cached, u.Reasoning}.words(u.CostUSD)
}

// jsonlMachine parses our own protocol.
type jsonlMachine struct {
	answer answer
	ended  bool
}

func (m *jsonlMachine) Open() [][]byte { return nil }
func (m *jsonlMachine) Close() []Event { return m.answer.flush() }

func (m *jsonlMachine) Line(line []byte) ([]Event, [][]byte) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	var l jsonlLine
	if !decode(line, &l) {
		return []Event{strayLine(line)}, nil
	}
	return m.events(&l), nil
}

func (m *jsonlMachine) events(l *jsonlLine) []Event {
	var out []Event
	if l.Session != "" {
		out = append(out, Event{Kind: Session, Session: l.Session})
	}
	if l.Void != nil {
		out = append(out, m.answer.void(*l.Void)...)
		m.answer.part = false // the program parts what it says itself
	}
	out = append(out, m.answer.think(string(l.Reasoning))...)
	out = append(out, m.answer.text(string(l.Text))...)
	if l.Tool != nil {
		l.Tool.Input, l.Tool.Output = bound(l.Tool.Input, ToolTextMax), bound(l.Tool.Output, ToolTextMax)
		out = append(out, Event{Kind: ToolUse, Tool: l.Tool})
	}
	if l.Notice != "" {
		out = append(out, Event{Kind: Notice, Text: bound(l.Notice, noticeMax)})
	}
	// Here the program is believed when it says that nothing was used.
	if u := l.Usage.words(); u != (Usage{}) {
		out = append(out, Event{Kind: UsageReport, Usage: &u})
	}
	if end, ok := l.terminal(); ok {
		m.ended = true
		out = append(append(out, m.answer.flush()...), end)
	}
	return out
}

// terminal is the line's last word, an error before a done.
func (l *jsonlLine) terminal() (Event, bool) {
	if len(l.Error) > 0 && string(l.Error) != "null" && string(l.Error) != "false" {
		var e struct {
			Message string `json:"message"`
			Status  int    `json:"status"`
			Unknown bool   `json:"session_unknown"`
		}
		if err := json.Unmarshal(l.Error, &e); err != nil {
			e.Message = rawText(l.Error)
		}
		failure := providerFailure(e.Status, e.Message)
		failure.SessionUnknown = e.Unknown
		return Event{Kind: Failed, Failure: failure}, true
	}
	switch string(l.Done) {
	case "true", `"stop"`:
		return Event{Kind: Done, Finish: "stop"}, true
	case `"length"`, `"content_filter"`:
		return Event{Kind: Done, Finish: string(l.Done[1 : len(l.Done)-1])}, true
	}
	return Event{}, false
}
