package program

import (
	"bytes"
	"encoding/json"

	"penstock/backend"
	"penstock/backend/parse"
)

// jsonlProgram runs a program that speaks our own event lines (jsonlLine);
// kind "demo" is the built-in one.
type jsonlProgram struct{ backend.Config }

func NewJSONL(c backend.Config) backend.Backend { return jsonlProgram{c} }

func (b jsonlProgram) Name() string { return b.Config.Name }

func (b jsonlProgram) Kind() string { return b.Config.Kind }

func (b jsonlProgram) Framing() backend.Framing { return backend.Lines }

func (b jsonlProgram) Features() backend.Features {
	return backend.Features{Resume: true, Effort: true}
}

// Command tells the program by environment what is not the prompt: AGENT_MODEL,
// AGENT_SESSION (what it told as session before, to be resumed), AGENT_EFFORT.
// Each is absent when the client did not ask for it.
func (b jsonlProgram) Command(r backend.Request) (backend.Command, error) {
	set := map[string]string{"TMPDIR": r.Tmp}
	for name, value := range map[string]string{
		"AGENT_MODEL": r.Model, "AGENT_SESSION": r.Session, "AGENT_EFFORT": r.Effort,
	} {
		if value != "" {
			set[name] = value
		}
	}
	set, pass := b.Environment(set)
	return backend.Command{
		Argv:    b.ExtraArgs,
		Set:     set,
		Pass:    pass,
		Prompt:  backend.PromptWithSystem(r),
		SoftEnd: b.Config.Kind != "demo",
		Settle:  true,
	}, nil
}

func (b jsonlProgram) Machine(backend.Request) backend.Machine { return &jsonlMachine{} }

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
	Reasoning parse.JSONText  `json:"reasoning"`
	Text      parse.JSONText  `json:"text"`
	Tool      *backend.Tool   `json:"tool"`
	Notice    string          `json:"notice"`
	Usage     jsonlUsage      `json:"usage"`
	Error     json.RawMessage `json:"error"`
	Done      json.RawMessage `json:"done"`
}

type jsonlUsage struct {
	Prompt     parse.Count `json:"prompt_tokens"`
	Completion parse.Count `json:"completion_tokens"`
	Cached     parse.Count `json:"cached_tokens"`
	Reasoning  parse.Count `json:"reasoning_tokens"`
	CostUSD    *float64    `json:"cost_usd"`
}

func (u jsonlUsage) usage() backend.Usage {
	return parse.Tokens{Prompt: u.Prompt, Completion: u.Completion, Cached: u.Cached, Reasoning: u.Reasoning}.Usage(u.CostUSD)
}

// jsonlMachine parses our own protocol.
type jsonlMachine struct {
	answer parse.Answer
	ended  bool
}

func (m *jsonlMachine) Open() [][]byte { return nil }

func (m *jsonlMachine) Close() []backend.Event { return m.answer.Flush() }

func (m *jsonlMachine) Line(line []byte) ([]backend.Event, [][]byte) {
	if m.ended || len(bytes.TrimSpace(line)) == 0 {
		return nil, nil
	}
	var l jsonlLine
	if !parse.Decode(line, &l) {
		return []backend.Event{parse.StrayLine(line)}, nil
	}
	return m.events(&l), nil
}

func (m *jsonlMachine) events(l *jsonlLine) []backend.Event {
	var out []backend.Event
	if l.Session != "" {
		out = append(out, backend.Event{Kind: backend.Session, Session: l.Session})
	}
	if l.Void != nil {
		out = append(out, m.answer.Void(*l.Void)...)
		m.answer.Part = false // the program parts what it says itself
	}
	out = append(out, m.answer.Think(string(l.Reasoning))...)
	out = append(out, m.answer.Text(string(l.Text))...)
	if l.Tool != nil {
		l.Tool.Input, l.Tool.Output = parse.Bound(l.Tool.Input, backend.ToolTextMax), parse.Bound(l.Tool.Output, backend.ToolTextMax)
		out = append(out, backend.Event{Kind: backend.ToolUse, Tool: l.Tool})
	}
	if l.Notice != "" {
		out = append(out, backend.Event{Kind: backend.Notice, Text: parse.Bound(l.Notice, parse.NoticeMax)})
	}
	// Here the program is believed when it says that nothing was used.
	if u := l.Usage.usage(); u != (backend.Usage{}) {
		out = append(out, backend.Event{Kind: backend.UsageReport, Usage: &u})
	}
	if end, ok := l.terminal(); ok {
		m.ended = true
		out = append(append(out, m.answer.Flush()...), end)
	}
	return out
}

// terminal is the line's last word, an error before a done.
func (l *jsonlLine) terminal() (backend.Event, bool) {
	if len(l.Error) > 0 && string(l.Error) != "null" && string(l.Error) != "false" {
		var e struct {
			Message string `json:"message"`
			Status  int    `json:"status"`
			Unknown bool   `json:"session_unknown"`
		}
		if err := json.Unmarshal(l.Error, &e); err != nil {
			e.Message = parse.RawText(l.Error)
		}
		failure := parse.ProviderFailure(e.Status, e.Message)
		failure.SessionUnknown = e.Unknown
		return backend.Event{Kind: backend.Failed, Failure: failure}, true
	}
	switch string(l.Done) {
	case "true", `"stop"`:
		return backend.Event{Kind: backend.Done, Finish: "stop"}, true
	case `"length"`, `"content_filter"`:
		return backend.Event{Kind: backend.Done, Finish: string(l.Done[1 : len(l.Done)-1])}, true
	}
	return backend.Event{}, false
}
