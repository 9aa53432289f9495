package kinds

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"penstock/backend"
	"penstock/backend/parse"
	"penstock/backend/program"
)

func TestJSONL(t *testing.T) {
	done := &backend.Event{Kind: backend.Done, Finish: "stop"}
	failed := func(status int, code, message string) *backend.Event {
		return &backend.Event{Kind: backend.Failed, Failure: &backend.Failure{Code: code, Status: status, Message: message}}
	}
	for _, row := range []struct {
		name  string
		lines []byte
		want  said
	}{
		{"an answer", lines(`{"session":"s1"}`, `{"text":"one "}`, `{"text":"two"}`, `{"usage":{"prompt_tokens":3,"completion_tokens":2}}`, `{"done":true}`),
			said{Session: "s1", Text: "one two", Usage: &backend.Usage{PromptTokens: number[int64](3), CompletionTokens: number[int64](2)}, End: done}},
		{"all of the usage", lines(`{"usage":{"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1,"reasoning_tokens":0,"cost_usd":0.5}}`),
			said{Usage: &backend.Usage{PromptTokens: number[int64](3), CompletionTokens: number[int64](2), CachedTokens: number(int64(1)), ReasoningTokens: number(int64(0)), CostUSD: number(0.5)}}},
		{"several in a line", lines(`{"done":"length","text":"x","reasoning":"r","notice":"n","tool":{"name":"sh","status":"completed","output":"o"}}`),
			said{Text: "x", Reasoning: "r", Notices: []string{"n"}, Tools: []backend.Tool{{Name: "sh", Status: "completed", Output: "o"}}, End: &backend.Event{Kind: backend.Done, Finish: "length"}}},
		{"refused", lines(`{"done":"content_filter"}`), said{End: &backend.Event{Kind: backend.Done, Finish: "content_filter"}}},
		{"an error in words", lines(`{"text":"x"}`, `{"error":"broken"}`), said{Text: "x", End: failed(0, "cli_error", "broken")}},
		{"an error with a status", lines(`{"error":{"message":"slow down","status":429}}`), said{End: failed(429, "provider_rate_limit", "slow down")}},
		{"an error of an odd shape", lines(`{"error":[1,2]}`), said{End: failed(0, "cli_error", "[1,2]")}},
		{"no error", lines(`{"error":null,"done":true}`), said{End: done}},
		{"error beats done", lines(`{"error":"e","done":true}`), said{End: failed(0, "cli_error", "e")}},
		{"not done", lines(`{"done":false}`, `{"done":null}`), said{}},
		{"nothing after the end", lines(`{"done":true}`, `{"text":"late"}`, `{"error":"late"}`), said{End: done}},
		{"void", lines(`{"text":"ab"}`, `{"void":1}`, `{"text":"c"}`), said{Text: "ac", Voids: []int{1}}},
		{"void of nothing", lines(`{"void":0}`, `{"text":"ab"}`, `{"void":2}`, `{"void":-1}`, `{"void":9}`), said{Text: "ab"}},
		{"not the protocol", lines(`Warning: old node`, `[1]`, `"text"`, ``, `{"text":"cut`), said{Notices: []string{"Warning: old node", "[1]", `"text"`, `{"text":"cut`}}},
		{"a wrong type loses only its field", lines(`{"text":"kept","usage":"none","session":7}`), said{Text: "kept"}},
	} {
		got := listen(t, feed(program.NewJSONL(backend.Config{Kind: "jsonl"}).Machine(backend.Request{}), row.lines))
		if diff := cmp.Diff(row.want, got, cmpopts.IgnoreFields(said{}, "deltas")); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", row.name, diff)
		}
	}
}

func TestJSONL_BoundsWhatItKeeps(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	s := listen(t, feed(program.NewJSONL(backend.Config{}).Machine(backend.Request{}), lines(
		`{"tool":{"name":"t","input":"`+big+`","output":"`+big+`"},"notice":"`+big+`"}`, big, `{"error":"`+big+`"}`)))
	if len(s.Tools[0].Input) > backend.ToolTextMax || len(s.Tools[0].Output) > backend.ToolTextMax || len(s.Notices[0]) > parse.NoticeMax || len(s.Notices[1]) > parse.NoticeMax || len(s.End.Failure.Message) > parse.FailureMax {
		t.Error("something is not bounded")
	}
}

func TestExec_Text(t *testing.T) {
	for _, row := range []struct {
		name   string
		frames []string
		want   []string // the text events
	}{
		{"words", []string{"one ", "two\n"}, []string{"one ", "two\n"}},
		{"empty frame", []string{"", "a"}, []string{"a"}},
		{"code point in two frames", []string{"a\xe2\x82", "\xac b"}, []string{"a", "€ b"}},
		{"code point in four frames", []string{"\xf0", "\x9f", "\x98", "\x80"}, []string{"😀"}},
		{"never finished", []string{"x\xe2\x82"}, []string{"x", "\ufffd\ufffd"}},
		{"no UTF-8", []string{"a\xffb\xc0\xaf"}, []string{"a\ufffdb\ufffd\ufffd"}},
		{"NUL is a character", []string{"a\x00b"}, []string{"a\x00b"}},
		{"nothing", nil, nil},
	} {
		m := program.NewExec(backend.Config{}).Machine(backend.Request{})
		var got []string
		for _, frame := range row.frames {
			buffer := []byte(frame)
			events, _ := m.Line(buffer)
			clear(buffer)
			for _, e := range events {
				got = append(got, e.Text)
			}
		}
		for _, e := range m.Close() {
			got = append(got, e.Text)
		}
		if strings.Join(got, "|") != strings.Join(row.want, "|") {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// However output is cut into frames, the answer is the same, valid UTF-8, and
// what was valid comes through unchanged.
func TestExec_FramesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		output := rapid.OneOf(rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }), rapid.SliceOf(rapid.Byte())).Draw(t, "output")
		m := program.NewExec(backend.Config{}).Machine(backend.Request{})
		text := ""
		for rest := output; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "frame")
			events, _ := m.Line(rest[:n])
			rest = rest[n:]
			for _, e := range events {
				text += e.Text
			}
		}
		for _, e := range m.Close() {
			text += e.Text
		}
		if !utf8.ValidString(text) {
			t.Fatalf("not UTF-8: %q", text)
		}
		if want := parse.Clean(output); text != want {
			t.Fatalf("%q, whole it is %q", text, want)
		}
	})
}
