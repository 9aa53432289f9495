package kinds

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

// Each CLI that is spoken to answers a second prompt in the same session, and its usage adds up.
func TestKinds_AgainRecordings(t *testing.T) {
	for _, row := range []struct {
		kind  string
		wrote []string // from the first prompt on
	}{
		{"codex", []string{"turn/start", "turn/start"}},
		{"opencode", []string{"session/prompt", "session/list", "session/prompt", "session/list"}},
		{"kimi", []string{"session/prompt", "session/prompt", "session/close", "session/resume", "session/set_mode", "session/prompt", "session/prompt", "session/close"}},
		{"gemini", []string{"session/prompt", "session/set_mode", "session/prompt", "session/set_mode"}},
	} {
		said, events := talkTo(machineOf(t, row.kind, backend.Request{Prompt: "p", Converse: true}), recording(t, row.kind, "converse-again"))
		var wrote []string
		for line := range strings.Lines(string(said)) {
			var call struct{ Method string }
			if err := json.Unmarshal([]byte(line), &call); err != nil {
				t.Fatalf("wrote %s: %v", line, err)
			}
			wrote = append(wrote, call.Method)
		}
		if got := wrote[len(wrote)-len(row.wrote):]; !slices.Equal(got, row.wrote) {
			t.Errorf("%s: wrote %q", row.kind, wrote)
		}
		if !strings.Contains(string(said), `"text":"Once more, please."`) {
			t.Errorf("%s: wrote %s", row.kind, said)
		}
		var text string
		var sessions []string
		var usage backend.Usage
		ends := 0
		for _, e := range events {
			switch e.Kind {
			case backend.Text:
				text += e.Text
			case backend.Session:
				sessions = append(sessions, e.Session)
			case backend.UsageReport:
				usage = *e.Usage
			case backend.Done:
				ends++
			}
		}
		if text != "tok0 one marked-user-turns=1\n\ntok0 two marked-user-turns=2" || ends != 2 || len(sessions) != 1 {
			t.Errorf("%s: text %q, %d ends, sessions %q", row.kind, text, ends, sessions)
		}
		if *usage.PromptTokens != 240 || *usage.CompletionTokens != 24 {
			t.Errorf("%s: usage %d and %d, want that of two calls", row.kind, *usage.PromptTokens, *usage.CompletionTokens)
		}
	}
}

// A second turn is judged by itself.
func TestKinds_AgainJudged(t *testing.T) {
	const turn = `{"stopReason":"end_turn"}`
	begun := []string{codexNote("turn/started", `"turn":{"id":"U2"}`)}
	codexSecond := func(lines ...string) []string {
		for i, line := range lines {
			lines[i] = strings.ReplaceAll(line, `"turnId":"U"`, `"turnId":"U2"`)
		}
		return append(slices.Clone(begun), lines...)
	}
	codexFirst := strings.Split(strings.TrimSpace(string(codexTalk(codexNote("item/agentMessage/delta", `"itemId":"a","delta":"one"`), codexNote("turn/completed", `"turn":{"id":"U","status":"completed"}`)))), "\n")
	for _, row := range []struct {
		name, kind  string
		first, rest []string
		text, want  string
	}{
		{"nothing said", "acp", []string{plainAgent, opened, chunk("one"), answered(2, turn)}, []string{answered(3, turn)}, "one", "cli_error"},
		{"refused", "acp", []string{plainAgent, opened, chunk("one"), answered(2, turn)}, []string{`{"id":3,"error":{"code":429,"message":"slow"}}`}, "one", "provider_rate_limit 429"},
		{"said", "acp", []string{plainAgent, opened, chunk("one"), answered(2, turn)}, []string{chunk("t"), chunk("wo"), answered(3, turn)}, "one\n\ntwo", "stop"},
		{"late text of the first", "acp", []string{listAgent, opened, answered(2, turn), chunk("one"), answered(3, "{}")}, []string{answered(4, turn), chunk("two"), answered(5, "{}")}, "one\n\ntwo", "stop"},
		{"kimi lost the session", "kimi", []string{resumeAgent, opened, chunk("one"), answered(2, turn), chunk("Context: 1\nSession total: 1 input, 1 output"), answered(3, turn), answered(4, "{}")},
			[]string{`{"id":5,"error":{"code":-32602,"message":"Unknown sessionId"}}`, `{"id":6,"error":{"code":-32602,"message":"Unknown sessionId: s1"}}`}, "one", "cli_error"},
		{"broken and tried again", "opencode", []string{plainAgent, opened, callLine, say("m1", "one"), doneLine, answered(2, turn)},
			[]string{callLine, say("m2", "vo"), brokenLine, callLine, say("m2", "two"), doneLine, answered(3, turn)}, "one\n\ntwo", "stop"},
		{"codex", "codex", codexFirst, codexSecond(codexNote("item/agentMessage/delta", `"itemId":"b","delta":"two"`), codexNote("turn/completed", `"turn":{"id":"U2","status":"completed"}`)), "one\n\ntwo", "stop"},
		{"codex, a word of the first turn", "codex", codexFirst, []string{codexNote("item/agentMessage/delta", `"itemId":"a","delta":"late"`)}, "one", "nothing"},
		{"codex, nothing said", "codex", codexFirst, codexSecond(codexNote("turn/completed", `"turn":{"id":"U2","status":"completed"}`)), "one", "cli_error"},
	} {
		m := machineOf(t, row.kind, backend.Request{Prompt: "p"})
		m.Open()
		var events []backend.Event
		hear := func(lines []string) {
			for _, line := range lines {
				got, _ := m.Line([]byte(line))
				events = append(events, got...)
			}
		}
		hear(row.first)
		if len(events) == 0 || events[len(events)-1].Kind != backend.Done {
			t.Fatalf("%s: the first turn: %+v", row.name, events)
		}
		events = events[:len(events)-1]
		if write := m.(backend.Reprompter).Reprompt("again"); len(write) == 0 {
			t.Fatalf("%s: nothing written", row.name)
		}
		hear(row.rest)
		s := listen(t, events)
		if s.Text != row.text || s.ended() != row.want || s.End != nil && s.End.Failure != nil && s.End.Failure.SessionUnknown {
			t.Errorf("%s: text %q, ended with %s (%+v), want %q, %s", row.name, s.Text, s.ended(), s.End, row.text, row.want)
		}
	}
}

// codex hands the schema on with each prompt.
func TestCodex_SchemaRecordings(t *testing.T) {
	for scenario, prompts := range map[string]int{"schema": 1, "schema-mended": 2} {
		said, events := talkTo(machineOf(t, "codex", backend.Request{Prompt: "p", Schema: json.RawMessage(person)}), recording(t, "codex", scenario))
		s := listen(t, events)
		if s.Text != `{"name":"Ada","age":36}` || s.ended() != "stop" || strings.Count(string(said), `"outputSchema":`+person) != prompts {
			t.Errorf("%s: text %q, ended with %s (%+v), wrote %s", scenario, s.Text, s.ended(), s.End, said)
		}
	}
}

// Only the last message of a turn that is held to a schema is the answer.
func TestCodex_FinalMessage(t *testing.T) {
	message := func(id, text, phase string) string {
		return codexNote("item/completed", `"item":{"type":"agentMessage","id":"`+id+`","text":"`+text+`","phase":`+phase+`}`)
	}
	delta := func(id, text string) string {
		return codexNote("item/agentMessage/delta", `"itemId":"`+id+`","delta":"`+text+`"`)
	}
	completed := codexNote("turn/completed", `"turn":{"id":"U","status":"completed"}`)
	for _, row := range []struct {
		name  string
		lines []string
		text  string
		ended string
	}{
		{"one", []string{delta("a", "{"), delta("a", "}"), message("a", "{}", "null"), completed}, "{}", "stop"},
		{"one before it", []string{message("a", "I look.", "null"), message("b", "{}", "null"), completed}, "{}", "stop"},
		{"comments around it", []string{message("a", "I look.", `"commentary"`), message("b", "{}", `"final_answer"`), delta("c", "Do"), message("c", "Done.", `"commentary"`), completed}, "{}", "stop"},
		{"a broken one before it", []string{delta("a", `{\"x`), codexNote("error", `"willRetry":true,"error":{"message":"reconnecting"}`), delta("b", "{}"), message("b", "{}", "null"), completed}, "{}", "stop"},
		{"comments alone", []string{message("a", "I look.", `"commentary"`), completed}, "", "stop"},
		{"cut", []string{message("a", "I look.", "null"), delta("b", `{\"x`), codexNote("turn/completed", `"turn":{"id":"U","status":"failed","error":{"message":"Incomplete response returned, reason: max_output_tokens"}}`)}, `{"x`, "length"},
		{"failed", []string{delta("b", `{\"x`), codexNote("turn/completed", `"turn":{"id":"U","status":"failed","error":{"message":"no"}}`)}, "", "cli_error"},
		{"nothing", []string{completed}, "", "cli_error"},
	} {
		for _, r := range []backend.Request{{AnyObject: true}, {Schema: json.RawMessage(`{"type":"object"}`)}} {
			b, ok := Find("codex")
			if !ok {
				t.Fatal("no codex")
			}
			s := listen(t, feed(b.New(backend.Config{}).Machine(r), codexTalk(row.lines...)))
			if s.Text != row.text || s.ended() != row.ended || s.Voids != nil {
				t.Errorf("%s: text %q, ended with %s, voids %v, want %q, %s", row.name, s.Text, s.ended(), s.Voids, row.text, row.ended)
			}
		}
	}
}

// What OpenAI's strict mode takes, as codex passes schemas on.
func TestCodex_TakesSchema(t *testing.T) {
	b, err := New(backend.Config{Kind: "codex"})
	if err != nil {
		t.Fatal(err)
	}
	deep := func(n int) string {
		return strings.Repeat(`{"type":"object","additionalProperties":false,"required":["a"],"properties":{"a":`, n) + `{"type":"string"}` + strings.Repeat("}}", n)
	}
	wide := `{"type":"object","additionalProperties":false,"required":[`
	for i := range 101 {
		wide += `"` + strings.Repeat("a", i+1) + `",`
	}
	wide = strings.TrimSuffix(wide, ",") + `],"properties":{`
	for i := range 101 {
		wide += `"` + strings.Repeat("a", i+1) + `":{"type":"string"},`
	}
	wide = strings.TrimSuffix(wide, ",") + "}}"
	object := func(of string) string {
		return `{"type":"object","properties":{"a":` + of + `},"required":["a"],"additionalProperties":false}`
	}
	got := map[bool][]string{}
	for want, schemas := range map[bool][]string{
		true: {
			object(`{"type":"string"}`), object(`{"type":["string","null"],"description":"x"}`), object(`{"type":"string","enum":["a","b"]}`),
			object(`{"type":"array","items":{"type":"integer","minimum":1},"minItems":1}`), object(`{"anyOf":[{"type":"string","format":"date"},{"type":"null"}]}`),
			object(object(`{"type":"boolean"}`)), `{"type":"object","properties":{},"required":[],"additionalProperties":false}`, deep(4),
			`{"$schema":"x","$defs":{"n":{"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["kids"],"additionalProperties":false}},"type":"object","properties":{"n":{"$ref":"#/$defs/n"}},"required":["n"],"additionalProperties":false}`,
		},
		false: {
			``, `null`, `true`, `[]`, `{}`, `"x"`, `{"type":"string"}`, `{"type":"array","items":{"type":"string"}}`, `{"$ref":"#/$defs/a"}`,
			`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`,
			`{"type":"object","properties":{"a":{"type":"string"}},"required":[],"additionalProperties":false}`,
			`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":true}`,
			`{"type":"object","anyOf":[{"type":"object"}],"properties":{},"required":[],"additionalProperties":false}`,
			object(`{}`), object(`true`), object(`{"description":"x"}`), object(`{"type":"object"}`), object(`{"type":"array"}`), object(`{"oneOf":[{"type":"string"}]}`),
			object(`{"anyOf":[]}`), object(`{"anyOf":[{}]}`), object(`{"type":"string","pattern":"^a"}`), object(`{"type":"string","minLength":1}`), object(`{"type":"string","format":"uri"}`),
			object(`{"$ref":"#/x","description":"y"}`), object(`{"type":"string","default":"x"}`), object(`{"allOf":[{"type":"string"}]}`), object(`{"not":{"type":"string"}}`), deep(6), wide,
		},
	} {
		for _, schema := range schemas {
			if b.Features().TakesSchema(json.RawMessage(schema)) != want {
				got[want] = append(got[want], schema)
			}
		}
	}
	if diff := cmp.Diff(map[bool][]string{}, got); diff != "" {
		t.Errorf("not told right, by what was wanted:\n%s", diff)
	}
}

// gemini's print mode reads an @ with a word after it as a file (0.61.0): a text's own stays text.
func TestGemini_PlainAt(t *testing.T) {
	const told = "\n\n(Above, \\@ stands for an @.)"
	for text, want := range map[string]string{
		"no sign": "no sign", "@ alone, @, and @. @": "@ alone, @, and @. @", `it \@escaped`: `it \@escaped`, "@(x) @[y] @{z}": "@(x) @[y] @{z}", "@.\n@.": "@.\n@.",
		"@README.md":             `\@README.md` + told,
		"bob@example.com":        `bob\@example.com` + told,
		"@@double":               `\@\@double` + told,
		`@"a b" @\ c`:            `\@"a b" \@\ c` + told,
		"@.env or @./x":          `\@.env or \@./x` + told,
		"é@é and 日本@日本":          `é\@é and 日本\@日本` + told,
		"/cmd @x":                "\n" + `/cmd \@x` + told,
		`"@type": {"@id": "@x"}`: `"\@type": {"\@id": "\@x"}` + told,
	} {
		c := commandOf(t, backend.Config{Kind: "gemini"}, backend.Request{Prompt: text})
		if string(c.Prompt) != want {
			t.Errorf("%q is told as %q, want %q", text, c.Prompt, want)
		}
	}
	r := backend.Request{Prompt: "see", Dir: `/st,ate/a b(1)"c"\d@e`, Session: "s", Attachments: []backend.Attachment{photo}}
	r.Dir = strings.ReplaceAll(r.Dir, ",", "") // which its options can't have
	want := `see` + "\n\n" + `@/state/a\ b\(1\)\"c\"\\d@e/images/1.png`
	if c := commandOf(t, backend.Config{Kind: "gemini"}, r); string(c.Prompt) != want {
		t.Errorf("told %q, want %q", c.Prompt, want)
	}
}
