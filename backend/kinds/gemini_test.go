package kinds

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/backend/gemini"
)

func FuzzGemini(f *testing.F) { fuzz(f, "gemini") }

func FuzzGeminiConverse(f *testing.F) { fuzzRequest(f, "gemini", backend.Request{Converse: true}) }

// What gemini (0.61.0) makes of each scenario of the scripted model.
func TestGemini_Recordings(t *testing.T) {
	const whole = "marked-user-turns=1"
	for _, row := range []struct {
		scenario    string
		text, ended string
		message     string // part of a failure's message
		voids       int
		notices     int
	}{
		{scenario: "text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{scenario: "system", text: "tok0 tok1 " + whole, ended: "stop"},
		{scenario: "think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{scenario: "resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{scenario: "e400", ended: "cli_error 400", message: "scripted error 400"},
		{scenario: "e401", ended: "provider_auth 401", message: "scripted error 401"},
		{scenario: "e429", ended: "provider_rate_limit 429", message: "scripted error 429"},
		{scenario: "e500", ended: "provider_error 500", message: "scripted error 500"},
		{scenario: "empty", ended: "cli_error", message: "empty response", notices: 1},
		{scenario: "mid", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "without a finish reason", notices: 1},
		{scenario: "abrupt", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "terminated"},
		{scenario: "void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{scenario: "void-event", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{scenario: "killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},
	} {
		t.Run(row.scenario, func(t *testing.T) {
			s := listen(t, replay(t, "gemini", row.scenario, backend.Request{}))
			if s.Text != row.text {
				t.Errorf("text %q, want %q", s.Text, row.text)
			}
			if s.ended() != row.ended {
				t.Fatalf("ended with %s (%+v), want %s", s.ended(), s.End, row.ended)
			}
			if row.message != "" && !strings.Contains(s.End.Failure.Message, row.message) {
				t.Errorf("message %q, want %q in it", s.End.Failure.Message, row.message)
			}
			if len(s.Voids) != row.voids || len(s.Notices) != row.notices {
				t.Errorf("voids %v, notices %q: want %d and %d", s.Voids, s.Notices, row.voids, row.notices)
			}
			if s.Session == "" {
				t.Error("no session")
			}
		})
	}
}

func TestGemini_ToolSteps(t *testing.T) {
	s := listen(t, replay(t, "gemini", "tool", backend.Request{}))
	if len(s.Tools) != 2 {
		t.Fatalf("tools %+v", s.Tools)
	}
	begun, done := s.Tools[0], s.Tools[1]
	if begun.Name != "run_shell_command" || begun.Status != "started" || !strings.Contains(begun.Input, "echo from-the-tool") {
		t.Errorf("began with %+v", begun)
	}
	if done.Name != begun.Name || done.Status != "completed" || done.Output != "from-the-tool" || done.ID != begun.ID || done.ID == "" {
		t.Errorf("ended with %+v", done)
	}
	if !strings.Contains(s.Text, "tool-said: from-the-tool") || s.ended() != "stop" {
		t.Errorf("text %q, ended with %s", s.Text, s.ended())
	}
}

// Gemini's input_tokens hold the cached ones: 120 for each call of the scripted
// model. It counts a broken call too.
func TestGemini_Usage(t *testing.T) {
	for scenario, calls := range map[string]int64{"text": 1, "tool": 2, "resume": 1, "void": 2} {
		u := listen(t, replay(t, "gemini", scenario, backend.Request{})).Usage
		want := &backend.Usage{PromptTokens: number[int64](120 * calls), CompletionTokens: number[int64](12 * calls), CachedTokens: number(20 * calls)}
		if diff := cmp.Diff(want, u); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", scenario, diff)
		}
	}
	if s := listen(t, replay(t, "gemini", "e401", backend.Request{})); s.Usage != nil {
		t.Errorf("usage %+v of a call that was refused: absent is not zero", *s.Usage)
	}
}

func geminiSays(t *testing.T, l ...string) said {
	t.Helper()
	return listen(t, feed(gemini.New(backend.Config{}).Machine(backend.Request{}), lines(l...)))
}

const (
	geminiCall    = `{"type":"provider_call"}`
	geminiSuccess = `{"type":"result","status":"success"}`
)

func geminiSaid(text string) string {
	return `{"type":"message","role":"assistant","content":"` + text + `","delta":true}`
}

func geminiError(message string) string {
	return `{"type":"result","status":"error","error":{"type":"unknown","message":"` + message + `"}}`
}

func TestGemini_Ends(t *testing.T) {
	refused := func(code string) string { return `{"type":"provider_refused","code":` + code + `}` }
	finished := func(reason string) string { return `{"type":"provider_finished","reason":"` + reason + `"}` }
	for _, row := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"stop", []string{geminiCall, finished("STOP"), geminiSuccess}, "stop"},
		{"cut", []string{geminiCall, finished("MAX_TOKENS"), geminiSuccess}, "length"},
		{"cut before the last call", []string{geminiCall, finished("MAX_TOKENS"), geminiCall, finished("STOP"), geminiSuccess}, "stop"},
		{"refused", []string{geminiCall, finished("SAFETY"), geminiSuccess}, "content_filter"},
		{"the prompt was refused", []string{geminiCall, finished("BLOCKED"), geminiError("Model stream ended without a finish reason.")}, "content_filter"},
		{"the status is the provider's, not the text's", []string{geminiCall, refused("429"), geminiError("Resource exhausted")}, "provider_rate_limit 429"},
		{"a status of a call before", []string{geminiCall, refused("503"), geminiCall, finished("STOP"), geminiSuccess}, "stop"},
		{"no module: key", []string{geminiError("[API Error: Quota exceeded]\\nPlease wait and try again later. To increase your limits, request a quota increase through AI Studio, or switch")}, "provider_rate_limit 429"},
		{"no module: login", []string{geminiError("Possible quota limitations in place or slow response times detected.")}, "provider_rate_limit 429"},
		{"no module: JSON", []string{geminiError(`[API Error: {\"error\":{\"code\":503,\"message\":\"x\"}}]`)}, "provider_error 503"},
		{"no login", []string{`{"type":"result","status":"error","error":{"type":"FatalAuthenticationError","message":"log in"}}`}, "provider_auth"},
		{"no connection", []string{geminiCall, `{"type":"provider_broken","message":"connect ECONNREFUSED"}`, geminiError("fetch failed sending request")}, "provider_error"},
		{"no message", []string{geminiError("")}, "cli_error"},
		{"the second refusal", []string{geminiCall, refused("500"), geminiCall, refused("503"), geminiCall}, "provider_error 503"},
		{"a refusal that no retry mends", []string{geminiCall, refused("404"), geminiCall, refused("404")}, "nothing"},
		{"refusals with an answer between", []string{geminiCall, refused("500"), geminiCall, finished("STOP"), geminiCall, refused("500")}, "nothing"},
		{"nothing was said or asked", []string{geminiSuccess}, "cli_error"},
		{"after the end", []string{geminiCall, geminiSuccess, geminiSaid("x"), geminiSuccess}, "stop"},
	} {
		if s := geminiSays(t, row.lines...); s.ended() != row.want {
			t.Errorf("%s: ended with %s (%+v), want %s", row.name, s.ended(), s.End, row.want)
		}
	}
}

// Only the broken call's text is void, and only when another call follows.
func TestGemini_Void(t *testing.T) {
	const broken = `{"type":"provider_broken","message":"reset"}`
	tool := []string{`{"type":"tool_use","tool_id":"1","tool_name":"x"}`, `{"type":"tool_result","tool_id":"1","status":"success"}`}
	s := geminiSays(t, slices.Concat(
		[]string{geminiCall, geminiSaid("one"), `{"type":"provider_finished","reason":"STOP"}`}, tool,
		[]string{geminiCall, geminiSaid("tw"), broken, geminiSaid("o"), geminiCall, geminiSaid("three"), geminiSuccess})...)
	if s.Text != "one\n\nthree" || !slices.Equal(s.Voids, []int{3}) {
		t.Errorf("text %q, voids %v", s.Text, s.Voids)
	}
	if s = geminiSays(t, geminiCall, geminiSaid("one"), broken, geminiError("terminated")); s.Text != "one" || s.Voids != nil {
		t.Errorf("no call after it: text %q, voids %v", s.Text, s.Voids)
	}
	if s = geminiSays(t, geminiCall, broken, geminiCall, geminiSaid("one"), geminiSuccess); s.Text != "one" || s.Voids != nil || len(s.Notices) != 1 {
		t.Errorf("nothing said before it: text %q, voids %v, notices %q", s.Text, s.Voids, s.Notices)
	}
}

func TestGemini_EchoIsNoAnswer(t *testing.T) {
	s := geminiSays(t, `{"type":"message","role":"user","content":"my own words"}`, geminiSaid("hello"), geminiSuccess)
	if s.Text != "hello" {
		t.Errorf("text %q", s.Text)
	}
}

func TestGemini_FailedTool(t *testing.T) {
	s := geminiSays(t, `{"type":"tool_result","tool_id":"1","status":"error","error":{"message":"no such file"}}`)
	if want := []backend.Tool{{ID: "1", Name: "tool", Status: "failed", Output: "no such file"}}; !slices.Equal(s.Tools, want) {
		t.Errorf("tools %+v, want %+v", s.Tools, want)
	}
}

func TestGemini_Command(t *testing.T) {
	r := backend.Request{Model: "m", Session: "s-1", System: "sys", Prompt: "/hi", Dir: "/run/a b", Tmp: "/t", MemoryMax: 2 << 30, Root: true}
	c := commandOf(t, backend.Config{Kind: "gemini", ExtraArgs: []string{"--debug"}}, r)
	want := []string{"--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust", "--model", "m", "--resume", "s-1", "--debug"}
	if diff := cmp.Diff(want, c.Argv); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := c.Set["NODE_OPTIONS"]; got != `--require="/run/a b/provider.cjs" --max-old-space-size=1536` {
		t.Errorf("NODE_OPTIONS=%s", got)
	}
	if c.Set["GEMINI_CLI_SYSTEM_DEFAULTS_PATH"] != "/run/a b/gemini_defaults.json" || c.Set["GEMINI_CLI_NO_RELAUNCH"] != "1" || len(c.Files) != 2 {
		t.Errorf("set %v, files %d", c.Set, len(c.Files))
	}
	if string(c.Prompt) != "sys\n\n/hi" || c.Input != backend.PromptFile {
		t.Errorf("prompt %q, input %d", c.Prompt, c.Input)
	}
	c = commandOf(t, backend.Config{Kind: "gemini", Permissions: "plan"}, backend.Request{Prompt: "/hi"})
	if string(c.Prompt) != "\n/hi" || c.Set["GEMINI_CLI_SYSTEM_DEFAULTS_PATH"] != "" || c.Argv[3] != "plan" {
		t.Errorf("not root: %+v", c)
	}
	for _, r := range []backend.Request{{Model: "-x"}, {Session: "--all"}, {Permissions: "yolo"}} {
		if _, err := gemini.New(backend.Config{}).Command(r); err == nil || !strings.HasPrefix(err.Error(), "gemini: ") {
			t.Errorf("%+v: error %v", r, err)
		}
	}
}
