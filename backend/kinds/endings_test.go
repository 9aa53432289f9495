package kinds

import (
	"strings"
	"testing"

	"penstock/backend"
)

// Six CLIs tell five ways that an answer was cut at the token limit, or refused.
func TestEndingsOfAllSix(t *testing.T) {
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
func TestNoLogin(t *testing.T) {
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
