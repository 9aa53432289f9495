package kinds

import (
	"strings"
	"testing"

	"penstock/backend"
)

// What the six CLIs say of a session whose files were removed (measured), and what
// is no such word.
func TestSessionUnknown(t *testing.T) {
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
