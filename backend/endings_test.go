package backend

import "testing"

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
			s := listen(t, replay(t, kind, row.scenario, Request{}))
			if s.Text != row.text || s.ended() != row.ended {
				t.Errorf("%s %s: text %q, ended with %s (%+v), want %q, %s", kind, row.scenario, s.Text, s.ended(), s.End, row.text, row.ended)
			}
		}
	}
}

func TestFinishReason(t *testing.T) {
	for word, want := range map[string]string{
		"": "stop", "end_turn": "stop", "STOP": "stop", "tool_calls": "stop",
		"max_tokens": "length", "MAX_TOKENS": "length", "length": "length", "max_output_tokens": "length",
		"refusal": "content_filter", "SAFETY": "content_filter", "PROHIBITED_CONTENT": "content_filter", "content_filter": "content_filter", "BLOCKED": "content_filter",
	} {
		if got := finishReason(word); got != want {
			t.Errorf("%q is %s, want %s", word, got, want)
		}
	}
}
