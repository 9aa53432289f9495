package kinds

import (
	"strings"
	"testing"

	"penstock/backend"
)

// Six CLIs tell five ways that an answer was cut at the token limit, or refused.
func TestKinds_Endings(t *testing.T) {
	const whole = "tok0 tok1 tok2 marked-user-turns=1"
	for _, kind := range []string{"claude", "codex", "opencode", "kimi", "gemini", "pi"} {
		for _, row := range []struct{ scenario, text, ended string }{
			{"cut", whole, "length"},
			{"refusal", "", "content_filter"},
			{"refusal-text", "tok0 tok1 tok2 ", "content_filter"},
		} {
			if kind == "claude" {
				switch row.scenario { // it has the model go on: three times after a cut, once after a refusal
				case "cut":
					row.text = whole + whole + whole + whole
				case "refusal-text":
					row.text = row.text + "\n\n" + row.text
				}
			}
			s := listen(t, replay(t, kind, row.scenario, backend.Request{}))
			if s.Text != row.text || s.ended() != row.ended {
				t.Errorf("%s %s: text %q, ended with %s (%+v), want %q, %s", kind, row.scenario, s.Text, s.ended(), s.End, row.text, row.ended)
			}
		}
	}
}

// What each CLI says where it has no login or key; all is the real ones' own.
func TestKinds_NoLogin(t *testing.T) {
	const acpInit = `{"id":0,"result":{"agentCapabilities":{}}}`
	options := `{"id":1,"result":{"sessionId":"s1","configOptions":[{"id":"model","category":"model","currentValue":"opencode/big","options":[{"value":"opencode/big"}]}]}}`
	for _, row := range []struct {
		kind  string
		r     backend.Request
		lines []string
		want  string
	}{
		{"claude", backend.Request{}, []string{
			`{"type":"assistant","message":{"model":"<synthetic>","content":[{"type":"text","text":"Not logged in · Please run /login"}]},"error":"authentication_failed"}`,
			`{"type":"result","is_error":true,"terminal_reason":"api_error","stop_reason":"stop_sequence","result":"Not logged in · Please run /login"}`}, "provider_auth"},
		{"codex", backend.Request{}, strings.Split(strings.TrimSpace(string(codexTalk(
			codexNote("turn/completed", `"turn":{"id":"U","status":"failed","error":{"message":"Connection failed: error sending request","codexErrorInfo":{"httpConnectionFailed":{"httpStatusCode":null}}}}`),
			`{"id":3,"result":{"account":null,"userId":null,"requiresOpenaiAuth":true}}`))), "\n"), "provider_auth"},
		{"codex", backend.Request{}, strings.Split(strings.TrimSpace(string(codexTalk(
			codexNote("turn/completed", `"turn":{"id":"U","status":"failed","error":{"message":"Connection failed","codexErrorInfo":{"httpConnectionFailed":{"httpStatusCode":null}}}}`),
			`{"id":3,"result":{"account":null,"requiresOpenaiAuth":false}}`))), "\n"), "provider_error"},
		{"codex", backend.Request{}, strings.Split(strings.TrimSpace(string(codexTalk(
			codexNote("turn/completed", `"turn":{"id":"U","status":"failed","error":{"message":"Connection failed","codexErrorInfo":{"httpConnectionFailed":{"httpStatusCode":null}}}}`),
			`{"id":3,"error":{"code":-32600,"message":"unknown method"}}`))), "\n"), "provider_error"},
		{"kimi", backend.Request{}, []string{acpInit, `{"id":1,"error":{"code":-32000,"message":"Authentication required"}}`}, "provider_auth"},
		{"opencode", backend.Request{Model: "anthropic/claude"}, []string{acpInit, options}, "provider_auth"},
		{"opencode", backend.Request{Model: "opencode/nosuch"}, []string{acpInit, options, `{"id":2,"error":{"code":-32602,"message":"Invalid params: model not found: opencode/nosuch"}}`}, "cli_error"},
	} {
		events, _, _ := talk(t, row.kind, row.r, row.lines...)
		if s := listen(t, events); s.ended() != row.want {
			t.Errorf("%s: ended with %s (%+v), want %s", row.kind, s.ended(), s.End, row.want)
		}
	}
	for _, row := range []struct {
		kind   string
		status int
		stderr string
		want   string
	}{
		{"gemini", 41, "YOLO mode is enabled.\nPlease set an Auth method in your /home/user/.gemini/settings.json or specify one of the following environment variables before running: GEMINI_API_KEY\n", "provider_auth"},
		{"gemini", 42, "Error resuming session", ""},
		{"pi", 1, "No API key found for the selected model.\n\nUse /login to log into a provider via OAuth or API key.\n", "provider_auth"},
		{"pi", 1, "Error: x", ""}, {"pi", 0, "No API key found for x", ""},
	} {
		b, err := New(backend.Config{Kind: row.kind})
		if err != nil {
			t.Fatal(err)
		}
		f := b.Features().Exit(row.status, row.stderr)
		if got := ""; f != nil && f.Code != row.want || f == nil && got != row.want {
			t.Errorf("%s, status %d: %+v, want %q", row.kind, row.status, f, row.want)
		}
	}
}

// What the six CLIs say of a session whose files were removed (measured), and what
// is no such word.
func TestKinds_SessionUnknown(t *testing.T) {
	const initialized = `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1,"agentCapabilities":{"loadSession":LOAD,"sessionCapabilities":{"list":LIST,"resume":{}}}}}`
	agent := func(load, list string, lines ...string) []string {
		return append([]string{strings.NewReplacer("LOAD", load, "LIST", list).Replace(initialized)}, lines...)
	}
	const failure = `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error: OpenCode service failure","data":{"service":"session"}}}`
	const kimi = `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Invalid params","data":{"details":"Unknown sessionId: s1"}}}`
	for name, c := range map[string]struct {
		kind  string
		lines []string
		want  bool
	}{
		"claude":                {"claude", []string{`{"type":"result","subtype":"error_during_execution","is_error":true,"session_id":"x","errors":["No conversation found with session ID: s1"]}`}, true},
		"claude, another error": {"claude", []string{`{"type":"result","subtype":"error_during_execution","is_error":true,"session_id":"x","errors":["Execution error"]}`}, false},
		"claude, the provider's": {"claude", []string{
			`{"type":"result","is_error":true,"session_id":"x","api_error_status":404,"result":"No conversation found with session ID: s1"}`}, false},
		"codex":                {"codex", []string{`{"id":0,"result":{}}`, `{"id":1,"error":{"code":-32600,"message":"no rollout found for thread id s1"}}`}, true},
		"codex, another error": {"codex", []string{`{"id":0,"result":{}}`, `{"id":1,"error":{"code":-32600,"message":"failed to read the rollout"}}`}, false},
		"kimi":                 {"kimi", agent("false", "null", kimi), true},
		"kimi, by load":        {"kimi", agent("true", "null", kimi, strings.Replace(kimi, `"id":1`, `"id":2`, 1)), true},
		"opencode":             {"opencode", agent("false", "{}", failure, `{"jsonrpc":"2.0","id":2,"result":{"sessions":[{"sessionId":"other"}]}}`), true},
		"opencode knows it":    {"opencode", agent("false", "{}", failure, `{"jsonrpc":"2.0","id":2,"result":{"sessions":[{"sessionId":"s1"}]}}`), false},
		"opencode has more":    {"opencode", agent("false", "{}", failure, `{"jsonrpc":"2.0","id":2,"result":{"sessions":[],"nextCursor":"2"}}`), false},
		"opencode can't list":  {"opencode", agent("false", "{}", failure, `{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"failure"}}`), false},
		"no list":              {"opencode", agent("false", "null", failure), false},
		"no login":             {"kimi", agent("false", "{}", `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"Authentication required"}}`), false},
		"can't resume":         {"acp", []string{`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1,"agentCapabilities":{}}}`}, true},
		"jsonl":                {"jsonl", []string{`{"error":{"message":"gone","session_unknown":true}}`}, true},
		"jsonl, another error": {"jsonl", []string{`{"error":{"message":"gone"}}`}, false},
	} {
		b, err := New(backend.Config{Name: "b", Kind: c.kind})
		if err != nil {
			t.Fatal(err)
		}
		m := b.Machine(backend.Request{Session: "s1", Prompt: "p", Cwd: "/w"})
		m.Open()
		var last *backend.Failure
		for _, line := range c.lines {
			events, _ := m.Line([]byte(line))
			for _, e := range events {
				if e.Kind == backend.Failed {
					last = e.Failure
				}
			}
		}
		if last == nil || last.SessionUnknown != c.want {
			t.Errorf("%s: %+v, want unknown %v", name, last, c.want)
		}
	}
	for name, c := range map[string]struct {
		kind, stderr string
		status       int
		want         bool
	}{
		"pi":                {"pi", "No session found matching 's1'\n", 1, true},
		"pi, not waited":    {"pi", "No session found matching 's1'\n", -1, true},
		"pi, said before":   {"pi", "No session found matching 's1'\nsomething else\n", 1, false},
		"gemini":            {"gemini", "Security Warning: insecure\nError resuming session: No previous sessions found for this project.\n", 42, true},
		"gemini has others": {"gemini", "Error resuming session: Invalid session identifier \"s1\".\n  Searched for sessions in /x.\n  Use --list-sessions to see available sessions\n", 42, true},
		"gemini, crash":     {"gemini", "Error resuming session: No previous sessions found for this project.\n", 1, false},
		"gemini, io":        {"gemini", "Error resuming session: EACCES\n", 42, false},
	} {
		b, err := New(backend.Config{Name: "b", Kind: c.kind})
		if err != nil {
			t.Fatal(err)
		}
		if f := b.Features().Exit(c.status, c.stderr); (f != nil && f.SessionUnknown) != c.want {
			t.Errorf("%s: %+v, want unknown %v", name, f, c.want)
		}
	}
}
