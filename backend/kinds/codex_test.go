package kinds

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/backend/codex"
)

func FuzzCodex(f *testing.F) { fuzz(f, "codex") }

func FuzzCodexSchema(f *testing.F) {
	fuzzRequest(f, "codex", backend.Request{Schema: json.RawMessage(person)})
}

// What codex's app-server makes of each scenario of the scripted model. One
// notice is always there: codex doesn't know the scripted model.
func TestCodex_Recordings(t *testing.T) {
	const whole = "marked-user-turns=1"
	for _, row := range []struct {
		scenario        string
		text, ended     string
		message, notice string // part of a failure's message, of the last notice
		voids, notices  int
	}{
		{scenario: "text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{scenario: "system", text: "tok0 tok1 " + whole, ended: "stop"},
		{scenario: "think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{scenario: "resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{scenario: "empty", ended: "stop"},
		{scenario: "e400", ended: "cli_error 400", message: "scripted error 400"},
		{scenario: "e401", ended: "provider_auth 401", message: "scripted error 401"},
		{scenario: "e429", ended: "provider_rate_limit 429", message: "429 Too Many Requests"},
		{scenario: "e500", ended: "provider_error", message: "currently experiencing high demand"},
		{scenario: "mid", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "scripted error in the stream"},
		{scenario: "abrupt", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "stream disconnected"},
		{scenario: "void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1, notice: "Reconnecting... 1/5"},
		{scenario: "void-event", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1, notice: "scripted error in the stream"},
		{scenario: "killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},
	} {
		t.Run(row.scenario, func(t *testing.T) {
			events := replay(t, "codex", row.scenario, backend.Request{})
			s := listen(t, events)
			if s.Text != row.text {
				t.Errorf("text %q, want %q", s.Text, row.text)
			}
			if s.ended() != row.ended {
				t.Errorf("ended with %s (%+v), want %s", s.ended(), s.End, row.ended)
			}
			if row.message != "" && !strings.Contains(s.End.Failure.Message, row.message) {
				t.Errorf("message %q, want %q in it", s.End.Failure.Message, row.message)
			}
			if len(s.Voids) != row.voids || len(s.Notices) != row.notices+1 || !strings.Contains(s.Notices[len(s.Notices)-1], row.notice) {
				t.Errorf("voids %v, notices %q: want %d and %d, %q in the last", s.Voids, s.Notices, row.voids, row.notices+1, row.notice)
			}
			if len(events) == 0 || events[0].Kind != backend.Session || len(events[0].Session) != 36 {
				t.Errorf("begins with %+v, want the thread's id", events[:1])
			}
			full := backend.Request{Prompt: "p", System: "s", Session: "x", Effort: "high", Model: "m", Permissions: "plan"}
			if diff := cmp.Diff(events, replay(t, "codex", row.scenario, full)); diff != "" {
				t.Errorf("the events depend on the request:\n%s", diff)
			}
		})
	}
}

func TestCodex_DeltasThinkingAndTools(t *testing.T) {
	if s := listen(t, replay(t, "codex", "text", backend.Request{})); s.deltas != 5 {
		t.Errorf("%d text events, the model sent 5 deltas", s.deltas)
	}
	if s := listen(t, replay(t, "codex", "think", backend.Request{})); s.Reasoning != "thought0 thought1 thought2 " {
		t.Errorf("reasoning %q", s.Reasoning)
	}
	s := listen(t, replay(t, "codex", "tool", backend.Request{}))
	if len(s.Tools) != 2 {
		t.Fatalf("tools %+v", s.Tools)
	}
	begun, done := s.Tools[0], s.Tools[1]
	if begun.Name != "commandExecution" || begun.Status != "started" || !strings.Contains(begun.Input, "echo from-the-tool") {
		t.Errorf("began with %+v", begun)
	}
	if done.Status != "completed" || done.Output != "from-the-tool\n" || done.ID != begun.ID || done.ID == "" {
		t.Errorf("ended with %+v", done)
	}
}

// The scripted model reports 120 input tokens, 20 of them cached, and 12 of
// output for each call; codex's own total of a resumed thread is more.
func TestCodex_UsageIsOfThisTurn(t *testing.T) {
	for scenario, calls := range map[string]int64{"text": 1, "tool": 2, "resume": 1, "void": 1} {
		u := listen(t, replay(t, "codex", scenario, backend.Request{})).Usage
		if u == nil || *u.PromptTokens != 120*calls || *u.CompletionTokens != 12*calls || *u.CachedTokens != 20*calls {
			t.Errorf("%s: usage %+v, want %d calls", scenario, u, calls)
		}
	}
	if u := listen(t, replay(t, "codex", "e401", backend.Request{})).Usage; u != nil {
		t.Errorf("usage %+v of a call that was refused: absent is not zero", *u)
	}
}

// codexTalk are the lines of a turn of thread T up to its start, and then more.
func codexTalk(more ...string) []byte {
	return lines(append([]string{
		`{"id":0,"result":{}}`,
		`{"id":1,"result":{"thread":{"id":"T"}}}`,
		`{"method":"thread/tokenUsage/updated","params":{"threadId":"T","turnId":"old","tokenUsage":{"last":{"inputTokens":7},"total":{"inputTokens":900}}}}`,
		`{"id":2,"result":{"turn":{"id":"U"}}}`,
	}, more...)...)
}

// codexNote is a notification of turn U of thread T.
func codexNote(method, params string) string {
	return `{"method":"` + method + `","params":{"threadId":"T","turnId":"U",` + params + `}}`
}

func TestCodex_Turns(t *testing.T) {
	delta := func(item, text string) string {
		return codexNote("item/agentMessage/delta", `"itemId":"`+item+`","delta":"`+text+`"`)
	}
	message := func(item, text string) string {
		return codexNote("item/completed", `"item":{"type":"agentMessage","id":"`+item+`","text":"`+text+`"}`)
	}
	used := func(thread, last, total string) string {
		return `{"method":"thread/tokenUsage/updated","params":{"threadId":"` + thread + `","turnId":"U","tokenUsage":{"last":{"inputTokens":` + last + `},"total":{"inputTokens":` + total + `}}}}`
	}
	completed := codexNote("turn/completed", `"turn":{"id":"U","status":"completed"}`)
	for _, row := range []struct {
		name        string
		lines       []string
		text, ended string
		voids       []int
		prompt      int64
	}{
		{name: "messages are paragraphs", lines: []string{delta("a", "one"), message("a", "one"), delta("b", "two"), message("b", "two"), completed}, text: "one\n\ntwo", ended: "stop"},
		{name: "a message without deltas", lines: []string{message("a", "one"), completed}, text: "one", ended: "stop"},
		{name: "a restart keeps what was completed", lines: []string{delta("a", "one"), message("a", "one"), delta("b", "tw"), delta("c", "two"), message("c", "two"), completed}, text: "one\n\ntwo", voids: []int{3}, ended: "stop"},
		{name: "a retry voids at once", lines: []string{delta("a", "on"), codexNote("error", `"willRetry":true,"error":{"message":"again"}`)}, voids: []int{0}, ended: "nothing"},
		{name: "repeated usage counts once", lines: []string{used("T", "10", "910"), used("T", "10", "910"), used("T", "10", "920"), completed}, ended: "stop", prompt: 20},
		{name: "agents' usage counts, their text and end don't", lines: []string{
			delta("a", "one"), strings.ReplaceAll(delta("z", "other"), `"T"`, `"S"`), used("S", "5", "5"), used("T", "10", "910"), strings.ReplaceAll(completed, `"T"`, `"S"`), message("a", "one"), completed,
		}, text: "one", ended: "stop", prompt: 15},
		{name: "interrupted", lines: []string{codexNote("turn/completed", `"turn":{"id":"U","status":"interrupted"}`)}, ended: "cli_error"},
		{name: "the error told before", lines: []string{codexNote("error", `"willRetry":false,"error":{"message":"x","codexErrorInfo":"unauthorized"}`), codexNote("turn/completed", `"turn":{"id":"U","status":"failed"}`)}, ended: "provider_auth"},
		{name: "dead after an error", lines: []string{codexNote("error", `"willRetry":false,"error":{"message":"x","codexErrorInfo":"serverOverloaded"}`)}, ended: "provider_error"},
		{name: "an error that ended nothing", lines: []string{codexNote("error", `"willRetry":false,"error":{"message":"x"}`), message("a", "one"), completed}, text: "one", ended: "stop"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := codex.New(backend.Config{Name: "codex", Kind: "codex"})
			s := listen(t, feed(b.Machine(backend.Request{}), codexTalk(row.lines...)))
			if s.Text != row.text || s.ended() != row.ended || !slices.Equal(s.Voids, row.voids) {
				t.Errorf("text %q, voids %v, ended %s; want %q, %v, %s", s.Text, s.Voids, s.ended(), row.text, row.voids, row.ended)
			}
			if got := s.Usage; row.prompt != 0 && (got == nil || *got.PromptTokens != row.prompt) || row.prompt == 0 && got != nil {
				t.Errorf("usage %+v, want %d prompt tokens", got, row.prompt)
			}
		})
	}
}

func TestCodex_Failures(t *testing.T) {
	for _, row := range []struct {
		message, info, code string
		status              int
	}{
		{`{"error":{"message":"no such tool"}}`, `"badRequest"`, "cli_error", 400},
		{"too long", `"contextWindowExceeded"`, "cli_error", 0},
		{"Connection failed", `{"httpConnectionFailed":{"httpStatusCode":null}}`, "provider_error", 0},
		{"gave up", `{"responseTooManyFailedAttempts":{"httpStatusCode":429}}`, "provider_rate_limit", 429},
		{"denied", `{"httpConnectionFailed":{"httpStatusCode":403}}`, "provider_auth", 403},
		{"plan used up", `"usageLimitExceeded"`, "provider_rate_limit", 0},
		{"odd", `{"a":1,"b":2}`, "cli_error", 0},
		{"none", ``, "cli_error", 0},
	} {
		f := codex.Error{Message: row.message, Info: []byte(row.info)}.Failure()
		if f.Code != row.code || f.Status != row.status || strings.HasPrefix(f.Message, "{") {
			t.Errorf("%s %s: %+v, want %s %d", row.message, row.info, f, row.code, row.status)
		}
	}
}

// codexSays are the machine's writes for the server's lines, decoded.
func codexSays(t *testing.T, r backend.Request, lines ...string) []map[string]any {
	t.Helper()
	m := codex.New(backend.Config{Name: "codex", Kind: "codex"}).Machine(r)
	write := m.Open()
	for _, line := range lines {
		_, more := m.Line([]byte(line))
		write = append(write, more...)
	}
	var said []map[string]any
	for _, line := range write {
		var message map[string]any
		if strings.Contains(string(line), "\n") || json.Unmarshal(line, &message) != nil {
			t.Fatalf("wrote %q, want one line of JSON", line)
		}
		said = append(said, message)
	}
	return said
}

const (
	codexHello  = `{"id":0,"result":{}}`
	codexThread = `{"id":1,"result":{"thread":{"id":"T"}}}`
)

func TestCodex_StartsAThread(t *testing.T) {
	said := codexSays(t, backend.Request{Model: "m", System: "be brief", Prompt: "hello\nthere", Cwd: "/w", Effort: "high"}, codexHello, codexThread)
	var methods []string
	for _, message := range said {
		methods = append(methods, message["method"].(string))
	}
	if diff := cmp.Diff([]string{"initialize", "initialized", "thread/start", "turn/start"}, methods); diff != "" {
		t.Fatal(diff)
	}
	want := map[string]any{"cwd": "/w", "model": "m", "developerInstructions": "be brief", "approvalPolicy": "never", "sandbox": "danger-full-access"}
	if diff := cmp.Diff(want, said[2]["params"]); diff != "" {
		t.Error(diff)
	}
	want = map[string]any{"threadId": "T", "effort": "high", "input": []any{map[string]any{"type": "text", "text": "hello\nthere", "text_elements": []any{}}}}
	if diff := cmp.Diff(want, said[3]["params"]); diff != "" {
		t.Error(diff)
	}
}

// A resumed thread keeps the developerInstructions it began with, so the system
// text goes with the turn.
func TestCodex_ResumesAThread(t *testing.T) {
	said := codexSays(t, backend.Request{System: "be brief", Prompt: "p", Cwd: "/w", Session: "T", Permissions: "plan"}, codexHello, codexThread)
	if said[2]["method"] != "thread/resume" {
		t.Fatalf("said %v", said[2])
	}
	want := map[string]any{"cwd": "/w", "threadId": "T", "excludeTurns": true, "approvalPolicy": "never", "sandbox": "read-only"}
	if diff := cmp.Diff(want, said[2]["params"]); diff != "" {
		t.Error(diff)
	}
	context := said[3]["params"].(map[string]any)["additionalContext"]
	if diff := cmp.Diff(map[string]any{"system": map[string]any{"kind": "application", "value": "be brief"}}, context); diff != "" {
		t.Error(diff)
	}
}

func TestCodex_RefusalsEndTheRun(t *testing.T) {
	for name, said := range map[string][]string{
		"initialize":   {`{"id":0,"error":{"code":-1,"message":"no rollout found"}}`},
		"thread/start": {codexHello, `{"id":1,"error":{"code":-32600,"message":"no rollout found"}}`},
		"turn/start":   {codexHello, codexThread, `{"id":2,"error":{"code":-1,"message":"no rollout found"}}`},
	} {
		s := listen(t, feed(codex.New(backend.Config{}).Machine(backend.Request{}), lines(said...)))
		if s.ended() != "cli_error" || s.End.Failure.Message != name+": no rollout found" {
			t.Errorf("%s: ended with %s %+v", name, s.ended(), s.End)
		}
	}
}

// Whatever codex asks, it gets an answer with the id of its question.
func TestCodex_IsAlwaysAnswered(t *testing.T) {
	for method, want := range map[string]any{
		"item/commandExecution/requestApproval": map[string]any{"decision": "decline"},
		"item/fileChange/requestApproval":       map[string]any{"decision": "decline"},
		"execCommandApproval":                   map[string]any{"decision": "denied"},
		"applyPatchApproval":                    map[string]any{"decision": "denied"},
		"mcpServer/elicitation/request":         map[string]any{"action": "decline"},
		"item/permissions/requestApproval":      map[string]any{"permissions": map[string]any{}},
		"item/tool/requestUserInput":            map[string]any{"answers": map[string]any{}},
		"item/tool/call":                        map[string]any{"contentItems": []any{}, "success": false},
		"currentTime/read":                      nil,
		"something/new":                         nil,
	} {
		said := codexSays(t, backend.Request{}, codexHello, codexThread, `{"id":"q7","method":"`+method+`","params":{"threadId":"T"}}`)
		answer := said[len(said)-1]
		if answer["id"] != "q7" {
			t.Errorf("%s: answered with %v", method, answer)
		}
		if diff := cmp.Diff(want, answer["result"]); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}
		if _, refused := answer["error"]; refused != (want == nil) {
			t.Errorf("%s: error %v", method, answer["error"])
		}
	}
}

func TestCodex_Command(t *testing.T) {
	b := codex.New(backend.Config{Name: "codex", Kind: "codex", ExtraArgs: []string{"-c", "x=1"}, SetEnv: map[string]string{"A": "b"}})
	c, err := b.Command(backend.Request{Prompt: "a secret prompt", System: "a secret system", Tmp: "/t", Effort: "high"})
	if err != nil {
		t.Fatal(err)
	}
	argv := strings.Join(c.Argv, " ")
	if !strings.HasPrefix(argv, "app-server -c ") || !strings.HasSuffix(argv, " -c x=1") || strings.Contains(argv, "secret") {
		t.Errorf("argv %q", argv)
	}
	if c.Input != backend.Conversation || c.Prompt != nil || c.Settle || c.SoftEnd {
		t.Errorf("command %+v", c)
	}
	if diff := cmp.Diff(map[string]string{"TMPDIR": "/t", "A": "b"}, c.Set); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []backend.Request{{Permissions: "all"}, {Effort: "huge"}} {
		if _, err := b.Command(bad); err == nil || !strings.Contains(err.Error(), "use one of") && !strings.Contains(err.Error(), "use bypass") {
			t.Errorf("%+v: error %v, want one that names the known values", bad, err)
		}
	}
}
