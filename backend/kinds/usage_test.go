package kinds

import (
	"math"
	"slices"
	"strings"
	"testing"

	"penstock/backend"
	"penstock/backend/parse"
)

// counted is, per kind, a whole turn in which the model's output tokens stand
// where @ is; its input tokens are 100 beside 20 cached ones.
func counted() map[string][]string {
	return map[string][]string{
		"claude": {`{"type":"result","is_error":false,"result":"x","usage":{"input_tokens":100,"cache_read_input_tokens":20,"output_tokens":@}}`},
		"codex": strings.Split(strings.TrimSpace(string(codexTalk(
			codexNote("thread/tokenUsage/updated", `"tokenUsage":{"last":{"inputTokens":120,"cachedInputTokens":20,"outputTokens":@},"total":{"inputTokens":720}}`)))), "\n"),
		"gemini":   {`{"type":"result","status":"success","stats":{"input_tokens":120,"output_tokens":@,"cached":20}}`},
		"pi":       {`{"type":"message_end","message":{"role":"assistant","stopReason":"stop","usage":{"input":100,"output":@,"cacheRead":20}}}`},
		"opencode": {plainAgent, opened, chunk("x"), `{"id":2,"result":{"stopReason":"end_turn","usage":{"inputTokens":100,"outputTokens":@,"cachedReadTokens":20}}}`},
		"acp":      {plainAgent, opened, chunk("x"), `{"id":2,"result":{"stopReason":"end_turn","usage":{"inputTokens":100,"outputTokens":@,"cachedReadTokens":20}}}`},
		"jsonl":    {`{"usage":{"prompt_tokens":120,"completion_tokens":@,"cached_tokens":20}}`},
		"demo":     {`{"usage":{"prompt_tokens":120,"completion_tokens":@,"cached_tokens":20}}`},
	}
}

// A count is the number that the CLI wrote, or absent: never a number of ours.
func TestKinds_Counts(t *testing.T) {
	for kind, turn := range counted() {
		for text, want := range map[string]*int64{
			"12": number[int64](12), "12.0": number[int64](12), "1e3": number[int64](1000), "1.2e1": number[int64](12), "9007199254740992": number[int64](1 << 53),
			"12.5": nil, "-1": nil, "-1e3": nil, "null": nil, `"12"`: nil, "true": nil, "{}": nil, "[1]": nil,
			"9007199254740994": nil, "18446744073709551616": nil, "1e300": nil, "1e999": nil,
		} {
			lines := slices.Clone(turn)
			for i, line := range lines {
				lines[i] = strings.ReplaceAll(line, "@", text)
			}
			events, _, _ := talk(t, kind, backend.Request{}, lines...)
			got := listen(t, events).Usage
			if got == nil {
				t.Errorf("%s: %s: no usage at all", kind, text)
				continue
			}
			if !same(got.CompletionTokens, want) || !same(got.PromptTokens, number[int64](120)) || !same(got.CachedTokens, number[int64](20)) {
				t.Errorf("%s: %s: prompt %v, cached %v, completion %v, want 120, 20 and %v",
					kind, text, shown(got.PromptTokens), shown(got.CachedTokens), shown(got.CompletionTokens), shown(want))
			}
		}
		for i := range turn {
			turn[i] = strings.NewReplacer(`,"output_tokens":@`, "", `,"outputTokens":@`, "", `,"output":@`, "", `,"completion_tokens":@`, "").Replace(turn[i])
		}
		events, _, _ := talk(t, kind, backend.Request{}, turn...)
		if got := listen(t, events).Usage; got == nil || got.CompletionTokens != nil || !same(got.PromptTokens, number[int64](120)) {
			t.Errorf("%s: a count that is not there: %+v", kind, got)
		}
	}
}

// kimi tells its tokens in words.
func TestKimi_CountsAreItsOwnOrAbsent(t *testing.T) {
	for total, want := range map[string]*int64{"12": number[int64](12), "18446744073709551616": nil, "99999999999999999999999999": nil} {
		usage := chunk("Context: 1\\nSession total: 120 input, " + total + " output")
		events, _, _ := talk(t, "kimi", backend.Request{}, resumeAgent, opened, chunk("x"), `{"id":2,"result":{"stopReason":"end_turn"}}`,
			strings.ReplaceAll(usage, `\\n`, `\n`), `{"id":3,"result":{"stopReason":"end_turn"}}`, `{"id":4,"result":{}}`)
		if got := listen(t, events).Usage; got == nil || !same(got.PromptTokens, number[int64](120)) || !same(got.CompletionTokens, want) {
			t.Errorf("%s: %+v, want %v", total, got, shown(want))
		}
	}
}

func same(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func shown(n *int64) any {
	if n == nil {
		return "absent"
	}
	return *n
}

// FuzzCounts puts any text where a CLI's count stands: what comes out can be a count.
func FuzzCounts(f *testing.F) {
	for _, seed := range []string{"12", "12.0", "1e3", "-1", "null", `"x"`, "1e400", "9223372036854775807", "{}", "0.1", "-0", "1E+2"} {
		f.Add(seed)
	}
	turns := counted()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\n\r") {
			return
		}
		for kind, turn := range turns {
			lines := slices.Clone(turn)
			for i, line := range lines {
				lines[i] = strings.ReplaceAll(line, "@", text)
			}
			events, _, _ := talk(t, kind, backend.Request{}, lines...)
			checkUsage(t, listen(t, events).Usage)
		}
	})
}

// checkUsage holds a report to what any may say.
func checkUsage(t testing.TB, u *backend.Usage) {
	t.Helper()
	if u == nil {
		return
	}
	for name, n := range map[string]*int64{"prompt": u.PromptTokens, "completion": u.CompletionTokens, "cached": u.CachedTokens, "reasoning": u.ReasoningTokens} {
		if n != nil && (*n < 0 || *n > parse.CountMax) {
			t.Errorf("%s tokens %d", name, *n)
		}
	}
	if c := u.CostUSD; c != nil && !(*c >= 0 && *c < math.Inf(1)) {
		t.Errorf("cost %v", *c)
	}
}
