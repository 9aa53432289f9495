package kinds

import (
	"strings"
	"testing"

	"penstock/backend"
)

// Five of the six tell the halves of a surrogate pair as they come. codex drops
// deltas that are not text; its whole item has it, in the middle of what was sent.
func TestKinds_SurrogateRecordings(t *testing.T) {
	for _, kind := range []string{"claude", "opencode", "kimi", "gemini", "pi"} {
		s := listen(t, replay(t, kind, "halves", backend.Request{}))
		if s.Text != "tok0 tok1 tok2 😀marked-user-turns=1" || s.ended() != "stop" {
			t.Errorf("%s: %q, ended with %s", kind, s.Text, s.ended())
		}
	}
}

// halves is, per kind, a turn whose text and thinking come in two pieces each.
func halves(kind string, one, two string) []string {
	update := func(kind, text string) string {
		return `{"method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"` + kind + `","content":{"type":"text","text":"` + text + `"}}}}`
	}
	switch kind {
	case "claude":
		delta := func(kind, field, text string) string {
			return `{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"` + kind + `","` + field + `":"` + text + `"}}}`
		}
		return []string{delta("thinking_delta", "thinking", one), delta("text_delta", "text", one), delta("thinking_delta", "thinking", two), delta("text_delta", "text", two), claudeOK}
	case "codex":
		return strings.Split(strings.TrimSpace(string(codexTalk(
			codexNote("item/reasoning/textDelta", `"itemId":"r","delta":"`+one+`"`), codexNote("item/agentMessage/delta", `"itemId":"a","delta":"`+one+`"`),
			codexNote("item/reasoning/textDelta", `"itemId":"r","delta":"`+two+`"`), codexNote("item/agentMessage/delta", `"itemId":"a","delta":"`+two+`"`),
			codexNote("turn/completed", `"turn":{"id":"U","status":"completed"}`)))), "\n")
	case "gemini": // tells no thinking
		return []string{geminiSaid(one), geminiSaid(two), geminiSuccess}
	case "pi":
		delta := func(kind, text string) string {
			return `{"type":"message_update","assistantMessageEvent":{"type":"` + kind + `","delta":"` + text + `"}}`
		}
		return []string{`{"type":"message_start","message":{"role":"assistant"}}`, delta("thinking_delta", one), delta("text_delta", one), delta("thinking_delta", two), delta("text_delta", two),
			`{"type":"message_end","message":{"role":"assistant","stopReason":"stop"}}`, `{"type":"agent_settled"}`}
	case "jsonl", "demo":
		return []string{`{"reasoning":"` + one + `","text":"` + one + `"}`, `{"reasoning":"` + two + `","text":"` + two + `"}`, `{"done":true}`}
	}
	return []string{plainAgent, opened, update("agent_thought_chunk", one), update("agent_message_chunk", one), update("agent_thought_chunk", two), update("agent_message_chunk", two),
		answered(2, `{"stopReason":"end_turn"}`), answered(3, "{}")}
}

// In every backend: joined over two deltas, and one that stays alone is replaced once.
func TestKinds_SurrogateHalves(t *testing.T) {
	for _, kind := range []string{"claude", "codex", "opencode", "acp", "gemini", "pi", "jsonl", "demo"} {
		for _, row := range []struct{ one, two, want string }{
			{`a\ud83d`, `\ude00b`, "a😀b"}, {`a\uD83D`, `\uDE00`, "a😀"}, {`\ud83d\ude00\ud83d`, `\ude00`, "😀😀"},
			{`a\ud83d`, `b`, "a\uFFFDb"}, {`a`, `\ude00b`, "a\uFFFDb"}, {`a`, `b\ud83d`, "ab\uFFFD"}, {`\\ud83d`, `\\ude00`, `\ud83d\ude00`}, {`í\ud55c`, `\ud7ff`, "í한\ud7ff"},
		} {
			events, _, _ := talk(t, kind, backend.Request{}, halves(kind, row.one, row.two)...)
			s := listen(t, events)
			if s.Text != row.want || kind != "gemini" && s.Reasoning != row.want || s.ended() != "stop" {
				t.Errorf("%s %s %s: text %q, thinking %q, ended with %s, want %q", kind, row.one, row.two, s.Text, s.Reasoning, s.ended(), row.want)
			}
		}
	}
}

// A half that is held back comes before the end, whatever the end is.
func TestKinds_SurrogateBeforeTheEnd(t *testing.T) {
	refused := `{"type":"provider_refused","code":503}`
	if s := geminiSays(t, geminiSaid(`a\ud83d`), geminiCall, refused, geminiCall, refused); s.Text != "a" || s.ended() != "provider_error 503" {
		t.Errorf("gemini: %q, ended with %s", s.Text, s.ended())
	}
	if s := claudeSays(t, `{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"a\ud83d"}}}`, `{"type":"result","is_error":true,"errors":["x"]}`); s.Text != "a\uFFFD" || s.ended() != "cli_error" {
		t.Errorf("claude: %q, ended with %s", s.Text, s.ended())
	}
	if s := piSays(t, `{"type":"message_update","assistantMessageEvent":{"type":"text_delta","delta":"a\ud83d"}}`); s.Text != "a\uFFFD" || s.ended() != "nothing" {
		t.Errorf("pi, killed: %q, ended with %s", s.Text, s.ended())
	}
}
