package structured

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/backend/parse"
	"penstock/backend/schema"
)

// matches compares events; a want that ends in "..." is a beginning.
func matches(want, got []string) bool {
	return slices.EqualFunc(want, got, func(w, g string) bool {
		if head, ok := strings.CutSuffix(w, "..."); ok {
			return strings.HasPrefix(g, head)
		}
		return w == g
	})
}

const notPerson = `the answer is not JSON that is valid by the schema "Person": `

func TestMachine(t *testing.T) {
	object := backend.Request{AnyObject: true}
	for _, row := range []struct {
		name    string
		request backend.Request
		twice   bool // the CLI can be asked again
		lines   []string
		want    []string
		writes  []string
	}{
		{name: "valid", request: ofPerson, twice: true,
			lines: []string{`text {"name":"Ada",`, `text "age":36}`, "done stop"},
			want:  []string{`text {"name":"Ada","age":36}`, "done stop"}},
		{name: "the rest does not wait", request: ofPerson,
			lines: []string{"session s1", "think hm", `text {"name":"Ada",`, "tool Bash", "note slow", "usage 3", `text "age":36}`, "think well", "done stop", "usage 4"},
			want:  []string{"session s1", "think hm", "tool Bash", "note slow", "usage 3", "think well", `text {"name":"Ada","age":36}`, "done stop", "usage 4"}},
		{name: "as the model wrote it", request: ofPerson,
			lines: []string{"text \ufeff\n { \"name\" : \"\\u0041da\",\n\"age\":36.0 }\n\n", "done stop"},
			want:  []string{"text { \"name\" : \"\\u0041da\",\n\"age\":36.0 }", "done stop"}},
		{name: "in a fence", request: ofPerson,
			lines: []string{"text I looked.\n\n```json\n{\"name\":\"Ada\",\"age\":36}\n```\nAnything else?", "done stop"},
			want:  []string{"note the words around the answer's JSON are left out", `text {"name":"Ada","age":36}`, "done stop"}},
		{name: "trailing words", request: ofPerson,
			lines: []string{`text {"name":"Ada","age":36} I hope this helps.`, "done stop"},
			want:  []string{"note the words around the answer's JSON are left out", `text {"name":"Ada","age":36}`, "done stop"}},
		{name: "taken back", request: ofPerson,
			lines: []string{`text {"name":"Bob`, "void 9", `text Ada","age":36}`, "done stop"},
			want:  []string{`text {"name":"Ada","age":36}`, "done stop"}},

		{name: "mended", request: ofPerson, twice: true,
			lines: []string{"usage 1", `text {"name":"Ada"}`, "done stop", "session s2", "think again", `text {"name":"Ada","age":36}`, "usage 5", "done stop"},
			want: []string{"usage 1", "note " + notPerson + `lacks "age"; the CLI is asked once more`, "session s2", "think again", "usage 5",
				`text {"name":"Ada","age":36}`, "done stop"},
			writes: []string{"again"}},
		{name: "mended, and something taken back", request: ofPerson, twice: true,
			lines: []string{"text 12345", "done stop", `text {"name":"x`, "void 14", `text Ada","age":36}`, "done stop"},
			want:  []string{"note " + notPerson + "has to be of type object...", `text {"name":"Ada","age":36}`, "done stop"}, writes: []string{"again"}},
		{name: "mended, and the first taken back", request: ofPerson, twice: true,
			lines: []string{"text 12345", "done stop", "text x", "void 2", `text {"name":"Bo`, "void 11", `text Ada","age":36}`, "done stop"},
			want:  []string{"note " + notPerson + "has to be of type object...", `text {"name":"Ada","age":36}`, "done stop"}, writes: []string{"again"}},
		{name: "wrong twice", request: ofPerson, twice: true,
			lines:  []string{`text {"name":"Ada"}`, "done stop", `text {"name":"Ada","age":"36"}`, "done stop", "text late", "done stop"},
			want:   []string{"note " + notPerson + "...", "fail invalid_output " + notPerson + "age: has to be of type integer, is string (it was asked twice: ask anew, or with a plainer schema, or another model)"},
			writes: []string{"again"}},
		{name: "wrong, and can't be asked again", request: ofPerson,
			lines: []string{`text {"name":"Ada","age":-1}`, "done stop"},
			want:  []string{"fail invalid_output " + notPerson + "age: has to be at least 0 (it can't be asked again..."}},
		{name: "a refusal in words", request: ofPerson,
			lines: []string{"text I can't help with that.", "done stop"},
			want:  []string{`fail invalid_output the answer is not JSON that is valid by the schema "Person": has no JSON: it begins "I can't help with that." (...`}},
		{name: "nothing", request: ofPerson,
			lines: []string{"think hm", "done stop"},
			want:  []string{"think hm", "fail invalid_output " + notPerson + "is empty (..."}},
		{name: "two values", request: ofPerson,
			lines: []string{`text {"name":"Ada","age":36} {"name":"Bob","age":3}`, "done stop"},
			want:  []string{"fail invalid_output " + notPerson + "has more than one JSON value..."}},
		{name: "a key twice", request: ofPerson,
			lines: []string{`text {"name":"Ada","age":36,"age":37}`, "done stop"},
			want:  []string{"fail invalid_output " + notPerson + `is no JSON: line 1, column 24: the key "age" is there twice (...`}},

		{name: "cut by the token limit", request: ofPerson, twice: true,
			lines: []string{`text {"name":"A`, "done length"}, want: []string{`text {"name":"A`, "done length"}},
		{name: "refused by the provider", request: ofPerson, twice: true,
			lines: []string{"text I can", "done content_filter"}, want: []string{"text I can", "done content_filter"}},
		{name: "refused without a word", request: ofPerson, twice: true,
			lines: []string{"done content_filter"}, want: []string{"done content_filter"}},
		{name: "cut the second time", request: ofPerson, twice: true,
			lines: []string{"text no", "done stop", `text {"na`, "done length"}, want: []string{"note ...", `text {"na`, "done length"}, writes: []string{"again"}},
		{name: "failed", request: ofPerson, twice: true,
			lines: []string{`text {"name":"Ada","age":36}`, "fail provider_error"}, want: []string{"fail provider_error the CLI's"}},
		{name: "failed the second time", request: ofPerson, twice: true,
			lines: []string{"text no", "done stop", `text {"name":"Ada","age":36}`, "fail provider_rate_limit"},
			want:  []string{"note ...", "fail provider_rate_limit the CLI's"}, writes: []string{"again"}},
		{name: "died", request: ofPerson, twice: true,
			lines: []string{"think hm", `text {"name":"Ada","age":36}`, "hold  "}, want: []string{"think hm"}},
		{name: "died when asked again", request: ofPerson, twice: true,
			lines: []string{"text no", "done stop", `text {"name":"Ada","age":36}`}, want: []string{"note ..."}, writes: []string{"again"}},

		{name: "any object", request: object, lines: []string{`text {"a":[1]}`, "done stop"}, want: []string{`text {"a":[1]}`, "done stop"}},
		{name: "any object, an array", request: object, lines: []string{`text [1]`, "done stop"},
			want: []string{"fail invalid_output the answer is not a JSON object: is an array, has to be an object (it can't..."}},
		{name: "the schema before any object", request: backend.Request{Schema: ofPerson.Schema, AnyObject: true},
			lines: []string{`text {"a":1}`, "done stop"}, want: []string{"fail invalid_output " + notPerson + `lacks "age", "name"; may not have "a" (...`}},
		{name: "a schema that is none", request: backend.Request{Schema: json.RawMessage(`{"type":"strng"}`)},
			lines: []string{`text {"a":1}`, "done stop"}, want: []string{"fail invalid_output the answer is not JSON that is valid by the schema: can't be held to its schema: type: ..."}},

		{name: "free text", request: backend.Request{}, twice: true,
			lines: []string{"text a", "void 0", "text b", "done stop"}, want: []string{"text a", "void 0", "text b", "done stop"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var prompts []string
			b := scripted{}
			if row.twice {
				b.prompts = &prompts
			}
			events, writes := run(t, New(b), row.request, row.lines...)
			if !matches(row.want, events) {
				t.Errorf("events (-want +got)\n%s", cmp.Diff(row.want, events))
			}
			if !slices.Equal(row.writes, writes) || len(prompts) != len(row.writes) {
				t.Errorf("writes %q, prompts %q; want %q", writes, prompts, row.writes)
			}
		})
	}
}

// A program without a last word of its own is judged when its output ends; whether it ended well
// is not known here, so it gets no Done.
func TestMachine_PlainExit(t *testing.T) {
	b := New(scripted{features: backend.Features{PlainExit: true}})
	for _, row := range []struct {
		name        string
		lines, want []string
	}{
		{"valid", []string{`text {"name":"Ada",`, `hold "age":36}`}, []string{`text {"name":"Ada","age":36}`}},
		{"with words", []string{`text So: {"name":"Ada","age":36}`}, []string{"note the words...", `text {"name":"Ada","age":36}`}},
		{"cut", []string{`text {"name":"Ada",`}, []string{"fail invalid_output " + notPerson + "is no JSON: line 1, column 15: the end where a key has to be (..."}},
		{"nothing", nil, []string{"fail invalid_output ..."}},
		{"its own failure", []string{"text no", "fail cli_error"}, []string{"fail cli_error the CLI's"}},
	} {
		if events, _ := run(t, b, ofPerson, row.lines...); !matches(row.want, events) {
			t.Errorf("%s: (-want +got)\n%s", row.name, cmp.Diff(row.want, events))
		}
	}
}

func TestMachine_AnswerTooLong(t *testing.T) {
	piece := `"` + strings.Repeat("é", 50_000) + `",`
	lines := []string{"text ["}
	for range 11 {
		lines = append(lines, "text "+piece)
	}
	lines = append(lines, `text "é"]`)
	r := backend.Request{Schema: json.RawMessage(`{"type":"array"}`)}
	m := New(scripted{}).Machine(r).(*machine)
	for _, line := range lines {
		if events, _ := m.Line([]byte(line)); events != nil {
			t.Fatalf("it gives out %v", describe(events))
		}
		if len(m.held.text) > schema.AnswerMax || cap(m.held.text) > 2*schema.AnswerMax {
			t.Fatalf("it holds %d bytes in %d", len(m.held.text), cap(m.held.text))
		}
	}
	events, _ := m.Line([]byte("done stop"))
	if got := describe(events); len(got) != 1 || !strings.Contains(got[0], "invalid_output") || !strings.Contains(got[0], "has 1100039 bytes, the most that are held to a schema are 1048576") {
		t.Errorf("events %q", got)
	}
	if m.held.text != nil {
		t.Error("what was judged is still held")
	}
	events, _ = run2(t, r, append(lines, "done length"))
	if len(events) != 3 || events[0].Kind != backend.Notice || events[2].Finish != "length" || len(events[1].Text) < schema.AnswerMax-4 || strings.Contains(events[1].Text, "\ufffd") {
		t.Errorf("cut: %d events", len(events))
	}
	// What is taken back makes room.
	events, _ = run2(t, r, append(lines[:12:12], "void 1", `text "a"]`, "done stop"))
	if got := describe(events); !slices.Equal(got, []string{`text ["a"]`, "done stop"}) {
		t.Errorf("taken back: %.200q", got)
	}
}

func run2(t *testing.T, r backend.Request, lines []string) (events []backend.Event, writes [][]byte) {
	t.Helper()
	m := New(scripted{}).Machine(r)
	for _, line := range lines {
		got, write := m.Line([]byte(line))
		events, writes = append(events, got...), append(writes, write...)
	}
	return append(events, m.Close()...), writes
}

// A Machine for free text is the CLI's own.
func TestNew_Transparent(t *testing.T) {
	var got backend.Request
	b := New(scripted{command: &got, prompts: &[]string{}})
	if _, ok := b.Machine(backend.Request{Prompt: "p"}).(*twice); !ok {
		t.Errorf("free text goes through %T", b.Machine(backend.Request{}))
	}
	r := backend.Request{Prompt: "p", System: "s"}
	if _, err := b.Command(r); err != nil || !cmp.Equal(r, got) {
		t.Errorf("free text is asked for by %+v, %v", got, err)
	}
}

func TestCommand_TellsTheSchema(t *testing.T) {
	const spaced = "{\n  \"type\": \"object\"\n}"
	takesNone := func(json.RawMessage) bool { return false }
	for _, row := range []struct {
		name     string
		features backend.Features
		request  backend.Request
		told     []string
		kept     string // the schema that the backend sees
	}{
		{"by prompt", backend.Features{}, backend.Request{Schema: json.RawMessage(spaced)}, []string{"Answer with JSON only", `{"type":"object"}`}, ""},
		{"natively", backend.Features{JSONSchema: true}, backend.Request{Schema: json.RawMessage(spaced)}, nil, spaced},
		{"one that isn't taken", backend.Features{JSONSchema: true, TakesSchema: takesNone}, backend.Request{Schema: json.RawMessage(spaced)}, []string{`{"type":"object"}`}, ""},
		{"any object", backend.Features{JSONSchema: true}, backend.Request{AnyObject: true}, []string{"one JSON object"}, ""},
	} {
		var got backend.Request
		b := New(scripted{features: row.features, command: &got})
		row.request.Prompt = "Who?"
		if _, err := b.Command(row.request); err != nil {
			t.Fatal(err)
		}
		opened := string(b.Machine(row.request).Open()[0])
		for _, told := range []string{got.Prompt, opened} {
			if !strings.HasPrefix(told, "Who?") || len(row.told) == 0 && told != "Who?" {
				t.Errorf("%s: the prompt is %q", row.name, told)
			}
			for _, part := range row.told {
				if !strings.Contains(told, part) {
					t.Errorf("%s: the prompt is %q, want %q in it", row.name, told, part)
				}
			}
		}
		if string(got.Schema) != row.kept {
			t.Errorf("%s: the backend sees the schema %s", row.name, got.Schema)
		}
	}
	_, err := New(scripted{}).Command(backend.Request{Schema: json.RawMessage(`{"properties":{"x":{"type":"strng"}}}`)})
	if err == nil || !strings.Contains(err.Error(), "schema: properties.x.type: ") {
		t.Errorf("a schema that is none: %v", err)
	}
}

func TestMachine_WhatTheCLIIsTold(t *testing.T) {
	var prompts []string
	run(t, New(scripted{prompts: &prompts}), ofPerson, `text {"name":"Ada","age":"`+strings.Repeat("x", 10_000)+`"}`, "done stop")
	if len(prompts) != 1 || !strings.Contains(prompts[0], `valid by the schema "Person". The problem: age: has to be of type integer, is string.`) || len(prompts[0]) > parse.FailureMax {
		t.Errorf("told %q", prompts)
	}
}

// The same lines give the same events, whatever the order of the maps on the way.
func TestMachine_Deterministic(t *testing.T) {
	r := backend.Request{Schema: json.RawMessage(`{"additionalProperties":{"anyOf":[{"type":"string","minLength":3},{"type":"object","required":["x"],"properties":{"y":{"type":"null"}}}]},"propertyNames":{"maxLength":2}}`)}
	lines := []string{`text {"a":1,"b":{"y":1},"c":"x","ddd":2,"eee":3,"f":[],"g":{},"h":null,"i":true,"j":"","k":{"y":2}}`, "done stop"}
	first, _ := run(t, New(scripted{}), r, lines...)
	for range 50 {
		if again, _ := run(t, New(scripted{}), r, lines...); !slices.Equal(first, again) {
			t.Fatalf("%q\n%q", first, again)
		}
	}
}

// The law: no Done with stop whose text breaks the schema, whatever a CLI says.
func FuzzMachine(f *testing.F) {
	schemas := []string{person, `{"type":"array","items":{"enum":[1,"a",null]},"uniqueItems":true}`, `{"anyOf":[{"const":1},{"$ref":"#/$defs/a"}],"$defs":{"a":{"type":"object","additionalProperties":{"$ref":"#"}}}}`, ""}
	for i, lines := range []string{
		"text {\"name\":\"A\ntext da\",\"age\":36}\ndone stop", "text no\ndone stop\ntext {\"name\":\"Ada\",\"age\":36}\ndone stop", "text ```json\\n[1,\"a\"]\ndone stop",
		"text {\"a\":{\"b\":1}}\nvoid 4\ntext :1}\ndone stop", "text {}\ndone stop", "text x {\"a\":1} [\"b\"]\nvoid 9\ndone stop\nvoid 2\ndone stop", "text [\nfail x\ntext ]\ndone stop", "text {\"name\":\"A\ndone length", "hold 1\nsession x",
	} {
		f.Add(uint8(i), i%2 == 0, false, lines)
		f.Add(uint8(i+1), i%2 == 1, true, lines)
	}
	f.Fuzz(func(t *testing.T, which uint8, again, plain bool, data string) {
		raw := schemas[int(which)%len(schemas)]
		r := backend.Request{AnyObject: true}
		if raw != "" {
			r = backend.Request{Schema: json.RawMessage(raw)}
		}
		script := scripted{features: backend.Features{PlainExit: plain}}
		if again {
			script.prompts = &[]string{}
		}
		lines := strings.Split(data, "\n")
		m := New(script).Machine(r)
		var events []backend.Event
		var writes []string
		for _, line := range lines {
			got, write := m.Line([]byte(line))
			events = append(events, got...)
			for _, w := range write {
				writes = append(writes, string(w))
			}
		}
		events = append(events, m.Close()...)
		checkLaw(t, r, plain, events)
		first := describe(events)
		if second, again := run(t, New(script), r, lines...); !slices.Equal(first, second) || !slices.Equal(writes, again) {
			t.Fatalf("two replays differ:\n%q %q\n%q %q", first, writes, second, again)
		}
	})
}

func checkLaw(t *testing.T, r backend.Request, plain bool, events []backend.Event) {
	t.Helper()
	text, texts, end := "", 0, backend.Event{}
	for _, e := range events {
		switch e.Kind {
		case backend.Void:
			t.Fatal("something that was never given out is taken back")
		case backend.Text:
			if end.Kind != 0 {
				t.Fatal("text after the end")
			}
			text, texts = text+e.Text, texts+1
		case backend.Done, backend.Failed:
			if end.Kind != 0 {
				t.Fatalf("a second end %+v after %+v", e, end)
			}
			end = e
		}
	}
	switch {
	case texts > 1:
		t.Fatalf("%d texts", texts)
	case end.Kind == backend.Failed && texts > 0:
		t.Fatal("text before a failure")
	case end.Kind == backend.Done && end.Finish == "stop", plain && end.Kind == 0:
		v, err := schema.Find(text)
		if err != nil || !v.Bare {
			t.Fatalf("the answer %q is not JSON alone: %v", text, err)
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("the answer %q is no JSON", text)
		}
		if len(r.Schema) == 0 {
			err = schema.IsObject(v.Value)
		} else if s, bad := schema.Compile(r.Schema); bad != nil {
			err = bad
		} else {
			err = s.Check(v.Value)
		}
		if err != nil {
			t.Fatalf("the answer %q breaks the schema: %v", text, err)
		}
	case end.Kind == 0 && texts > 0:
		t.Fatal("text of a CLI that never ended its turn")
	}
}
