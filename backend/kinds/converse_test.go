package kinds

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

// person is the schema of the recordings.
const person = `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false}`

// spokenTo is the request of a recording of a CLI that was spoken to, as the daemon that
// started it has it; as a replay has it, the prompt and what goes with it are gone.
func spokenTo(scenario string) (live, replayed backend.Request) {
	replayed = backend.Request{Converse: true}
	if strings.HasPrefix(scenario, "schema") || strings.HasPrefix(scenario, "told") {
		replayed.Schema = json.RawMessage(person)
	}
	live = replayed
	live.Prompt, live.System, live.Dir = "SCN=text", "sys", "/run/dir"
	if strings.HasPrefix(scenario, "images") {
		live.Attachments = []backend.Attachment{{Name: "a.png", Type: "image/png", Data: []byte("one")}, {Name: "n.txt", Type: "text/plain", Data: []byte("note")}}
	}
	return live, replayed
}

// feedAgain is feed for a machine that is told again, once, after its first Done.
func feedAgain(m backend.Reprompter, data []byte, again string) (turns [][]backend.Event) {
	var events []backend.Event
	m.Open()
	for line := range bytes.Lines(data) {
		got, _ := m.Line(bytes.TrimSuffix(line, []byte("\n")))
		events = append(events, got...)
		if n := len(events); again != "" && n > 0 && events[n-1].Kind == backend.Done {
			m.Reprompt(again)
			turns, events, again = append(turns, events), nil, ""
		}
	}
	return append(turns, append(events, m.Close()...))
}

func machineOf(t testing.TB, kind string, r backend.Request) backend.Machine {
	t.Helper()
	b, err := New(backend.Config{Name: kind, Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return b.Machine(r)
}

// What the two make of each scenario, live and in a replay, which has no prompt.
func TestConverse_Recordings(t *testing.T) {
	const (
		whole = "marked-user-turns=1"
		sees  = "tok0 sees: f73423b86d9da5f7084eb9b1a8702fef2716b4250648fbd3a9af71f44639bfe8 4e9f27451a3aab2bcba9d33fd473333c6a846b688b2fccf37f7f240b4a59b627 " + whole // of test/record's two squares
		ada   = `{"name":"Ada","age":36}`
	)
	for _, row := range []struct {
		kind, scenario string
		text, ended    string
		message        string // part of a failure's message
		voids, notices int
	}{
		{kind: "claude", scenario: "converse-text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{kind: "claude", scenario: "converse-system", text: "tok0 tok1 " + whole, ended: "stop"},
		{kind: "claude", scenario: "converse-think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{kind: "claude", scenario: "converse-tool", text: "tok0 tok1 tok2 tok3 tok4 tool-said: from-the-tool " + whole, ended: "stop"},
		{kind: "claude", scenario: "converse-cut", text: strings.Repeat("tok0 tok1 tok2 "+whole, 4), ended: "length", notices: 1},
		{kind: "claude", scenario: "converse-refusal", ended: "content_filter", notices: 1},
		{kind: "claude", scenario: "converse-e401", ended: "provider_auth 401", message: "scripted error 401"},
		{kind: "claude", scenario: "converse-abrupt", ended: "provider_error", message: "ECONNRESET", voids: 1},
		{kind: "claude", scenario: "converse-void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "claude", scenario: "converse-resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{kind: "claude", scenario: "converse-killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},
		{kind: "claude", scenario: "converse-unknown", ended: "cli_error", message: "No conversation found"},
		{kind: "claude", scenario: "images", text: sees, ended: "stop"},
		{kind: "claude", scenario: "schema", text: ada, ended: "stop"},
		{kind: "claude", scenario: "schema-mended", text: ada, ended: "stop"},
		{kind: "claude", scenario: "schema-later", text: ada, ended: "stop"},
		{kind: "claude", scenario: "schema-tool", text: ada, ended: "stop"},
		{kind: "claude", scenario: "schema-never", ended: "invalid_output", message: "last words: no JSON from me"},
		{kind: "claude", scenario: "schema-wrong", ended: "invalid_output", message: "/age: must be integer"},
		{kind: "claude", scenario: "schema-cut", ended: "length", notices: 1},
		{kind: "claude", scenario: "schema-refusal", ended: "content_filter", notices: 1},
		{kind: "claude", scenario: "schema-e429", ended: "provider_rate_limit 429", message: "scripted error 429"},
		{kind: "claude", scenario: "schema-dropped", ended: "invalid_output", message: "does not take this schema"},

		{kind: "pi", scenario: "converse-text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{kind: "pi", scenario: "converse-system", text: "tok0 tok1 " + whole, ended: "stop"},
		{kind: "pi", scenario: "converse-think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{kind: "pi", scenario: "converse-tool", text: "tok0 tok1 tok2 tok3 tok4 tool-said: from-the-tool " + whole, ended: "stop"},
		{kind: "pi", scenario: "converse-cut", text: "tok0 tok1 tok2 " + whole, ended: "length"},
		{kind: "pi", scenario: "converse-refusal", ended: "content_filter"},
		{kind: "pi", scenario: "converse-e401", ended: "provider_auth 401", message: "scripted error 401"},
		{kind: "pi", scenario: "converse-abrupt", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "terminated"},
		{kind: "pi", scenario: "converse-void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "pi", scenario: "converse-resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{kind: "pi", scenario: "converse-killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},
		{kind: "pi", scenario: "images", text: sees, ended: "stop"},
		{kind: "pi", scenario: "images-blind", ended: "unsupported_input", message: "fake/blind takes no images (hint: "},
	} {
		t.Run(row.kind+"/"+row.scenario, func(t *testing.T) {
			live, replayed := spokenTo(row.scenario)
			data := recording(t, row.kind, row.scenario)
			events := feed(machineOf(t, row.kind, replayed), data)
			if diff := cmp.Diff(events, feed(machineOf(t, row.kind, live), data)); diff != "" {
				t.Errorf("the replay differs from the run (-replay +run)\n%s", diff)
			}
			s := listen(t, events)
			if s.Text != row.text || s.ended() != row.ended {
				t.Errorf("text %q, ended with %s (%+v), want %q, %s", s.Text, s.ended(), s.End, row.text, row.ended)
			}
			if row.message != "" && !strings.Contains(s.End.Failure.Message, row.message) {
				t.Errorf("message %q, want %q in it", s.End.Failure.Message, row.message)
			}
			if len(s.Voids) != row.voids || len(s.Notices) != row.notices {
				t.Errorf("voids %v, notices %q: want %d and %d", s.Voids, s.Notices, row.voids, row.notices)
			}
			for _, tool := range s.Tools {
				if tool.Name == "StructuredOutput" {
					t.Errorf("the schema's own tool shows: %+v", tool)
				}
			}
		})
	}
	if s := listen(t, feed(machineOf(t, "claude", backend.Request{Converse: true, Schema: json.RawMessage(person)}), recording(t, "claude", "schema-tool"))); len(s.Tools) != 2 || s.Tools[0].Name != "Bash" {
		t.Errorf("beside a schema the CLI's tools are %+v", s.Tools)
	}
	if f := listen(t, feed(machineOf(t, "claude", backend.Request{Converse: true}), recording(t, "claude", "converse-unknown"))).End.Failure; !f.SessionUnknown {
		t.Errorf("a forgotten session: %+v", f)
	}
}

// Wherever an answer is cut, what came before is as it was, and nothing ends it.
func TestConverse_CutAnswers(t *testing.T) {
	for _, kind := range []string{"claude", "codex", "gemini", "kimi", "opencode", "pi"} {
		files, err := filepath.Glob(filepath.Join("..", "testdata", kind, "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			scenario := strings.TrimSuffix(filepath.Base(file), ".jsonl")
			if !strings.HasPrefix(scenario, "converse") && !strings.HasPrefix(scenario, "schema") && !strings.HasPrefix(scenario, "images") && !strings.HasPrefix(scenario, "told") {
				continue
			}
			_, r := spokenTo(scenario)
			if kind != "claude" && kind != "pi" {
				r.Session = requestOf(t, kind, scenario).Session
				r.Converse = r.Converse && !strings.HasSuffix(scenario, "-resume") && !strings.HasSuffix(scenario, "-resumed")
			}
			lines := bytes.SplitAfter(recording(t, kind, scenario), []byte("\n"))
			whole := events(machineOf(t, kind, r), lines)
			for cut := range lines {
				torn := append(slices.Clone(lines[:cut]), lines[cut][:len(lines[cut])*2/3])
				got := events(machineOf(t, kind, r), torn)
				for len(got) > 0 && got[len(got)-1].Kind == backend.Notice { // of the torn line
					got = got[:len(got)-1]
				}
				if len(got) > len(whole) || len(got) > 0 && !reflect.DeepEqual(got, whole[:len(got)]) {
					t.Errorf("%s %s: cut in line %d: %+v", kind, scenario, cut, got)
				}
			}
		}
	}
}

// events are those of lines, without the flush at their end.
func events(m backend.Machine, lines [][]byte) (all []backend.Event) {
	m.Open()
	for _, line := range lines {
		got, _ := m.Line(line)
		all = append(all, got...)
	}
	return all
}

// A second prompt in the same process: text and usage go on.
func TestConverse_Again(t *testing.T) {
	for _, row := range []struct {
		kind string
		cost *float64
	}{{"claude", number(0.000972)}, {"pi", number(0.0)}} {
		m, ok := machineOf(t, row.kind, backend.Request{Converse: true}).(backend.Reprompter)
		if !ok {
			t.Fatalf("%s takes no second prompt", row.kind)
		}
		turns := feedAgain(m, recording(t, row.kind, "converse-again"), "again")
		if len(turns) != 2 {
			t.Fatalf("%s: %d turns", row.kind, len(turns))
		}
		first, second := listen(t, turns[0]), listen(t, turns[1])
		if first.Text != "tok0 one marked-user-turns=1" || second.Text != "\n\ntok0 two marked-user-turns=2" || second.ended() != "stop" {
			t.Errorf("%s: %q, then %q, ended with %s", row.kind, first.Text, second.Text, second.ended())
		}
		if u := second.Usage; u == nil || !same(u.PromptTokens, number[int64](240)) || !same(u.CompletionTokens, number[int64](24)) || !same(u.CachedTokens, number[int64](40)) {
			t.Errorf("%s: usage of both turns %+v", row.kind, u)
		} else if u.CostUSD == nil || *u.CostUSD < *row.cost-1e-9 || *u.CostUSD > *row.cost+1e-9 {
			t.Errorf("%s: cost %v, want %v", row.kind, u.CostUSD, *row.cost)
		}
	}
	for _, kind := range []string{"claude", "pi"} {
		if _, ok := machineOf(t, kind, backend.Request{}).(backend.Reprompter); ok {
			t.Errorf("%s takes a second prompt where its first is a file", kind)
		}
		m := machineOf(t, kind, backend.Request{Converse: true}).(backend.Reprompter)
		feed(m, recording(t, kind, "converse-text"))
		m.Reprompt("again")
		var late []backend.Event
		for _, line := range []string{claudeOK, `{"type":"agent_settled"}`} {
			got, _ := m.Line([]byte(line))
			late = append(late, got...)
		}
		if s := listen(t, late); s.ended() != "cli_error" {
			t.Errorf("%s: a second turn without a word ended with %s", kind, s.ended())
		}
	}
}

// written is what a machine writes to its CLI for a request, and on lines of the CLI's.
func written(t *testing.T, kind string, r backend.Request, lines ...string) (wrote []map[string]any) {
	t.Helper()
	b, err := New(backend.Config{Name: kind, Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	m, again := b.Machine(r), b.Machine(r)
	raw, same := m.Open(), again.Open()
	for _, line := range lines {
		_, write := m.Line([]byte(line))
		raw = append(raw, write...)
		_, write = again.Line([]byte(line))
		same = append(same, write...)
	}
	// The next daemon's machine writes the same bytes: it goes on where this one was.
	if !reflect.DeepEqual(raw, same) {
		t.Errorf("%s wrote %s, and then %s", kind, raw, same)
	}
	for _, line := range raw {
		var w map[string]any
		if err := json.Unmarshal(line, &w); err != nil || bytes.IndexByte(line, '\n') >= 0 {
			t.Fatalf("%s wrote %q: %v", kind, line, err)
		}
		wrote = append(wrote, w)
	}
	return wrote
}

// field is what stands at a path in decoded JSON.
func field(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

const (
	initialized = `{"type":"control_response","response":{"subtype":"success","request_id":"initialize","response":{}}}`
	seeing      = `{"id":"state, images: 1","type":"response","command":"get_state","success":true,"data":{"sessionId":"s","model":{"id":"m","provider":"p","input":["text","image"]}}}`
)

// Images go as they are, documents by path, and no text is a command.
func TestConverse_Writes(t *testing.T) {
	image := []byte{0x89, 'P', 'N', 'G', 0, 0xff}
	r := backend.Request{Converse: true, Dir: "/run/dir", Prompt: "/clear \u2028 <x> \xff", Attachments: []backend.Attachment{
		{Name: "a b.pdf", Type: "application/pdf", Data: []byte("%PDF")}, {Name: "a.png", Type: "image/png", Data: image},
	}}
	const files = "\n\nFiles that come with this message, to be read where they are:\n- /run/dir/in/a_b.pdf (named \"a b.pdf\")"
	data := base64.StdEncoding.EncodeToString(image)

	wrote := written(t, "claude", r)
	if len(wrote) != 1 || field(wrote[0], "type") != "user" {
		t.Fatalf("claude is told %v", wrote)
	}
	content := field(wrote[0], "message", "content")
	if got := field(content, 0, "text"); got != "\n/clear \u2028 <x> \ufffd"+files {
		t.Errorf("claude's text is %q", got)
	}
	if field(content, 1, "type") != "image" || field(content, 1, "source", "data") != data || field(content, 1, "source", "media_type") != "image/png" {
		t.Errorf("claude's image is %v", field(content, 1))
	}
	c := commandOf(t, backend.Config{Kind: "claude"}, r)
	if c.Input != backend.Conversation || c.Prompt != nil || c.Settle || !slices.Contains(c.Argv, "--add-dir=/run/dir/in") || !slices.Contains(c.Argv, "--input-format=stream-json") {
		t.Errorf("claude is started by %+v", c)
	}
	if len(c.Files) != 1 || c.Files[0].Name != "in/a_b.pdf" || string(c.Files[0].Data) != "%PDF" {
		t.Errorf("claude's files are %+v", c.Files)
	}

	if wrote = written(t, "pi", r); len(wrote) != 1 || field(wrote[0], "type") != "get_state" {
		t.Fatalf("pi is told %v first", wrote)
	}
	if wrote = written(t, "pi", r, seeing); len(wrote) != 2 {
		t.Fatalf("pi is told %v", wrote)
	}
	if got := field(wrote[1], "message"); got != "<message>\n/clear \u2028 <x> \ufffd"+files+"\n</message>" {
		t.Errorf("pi's text is %q", got)
	}
	if field(wrote[1], "images", 0, "data") != data || field(wrote[1], "images", 0, "mimeType") != "image/png" {
		t.Errorf("pi's image is %v", field(wrote[1], "images"))
	}
	c = commandOf(t, backend.Config{Kind: "pi"}, r)
	if c.Input != backend.Conversation || c.Prompt != nil || c.Settle || !slices.Equal(c.Argv, []string{"--mode", "rpc"}) || len(c.Files) != 1 {
		t.Errorf("pi is started by %+v", c)
	}
}

// The prompt waits for the schema; a host that is asked anything answers.
func TestClaude_Schema(t *testing.T) {
	schema := `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"b":{},"a":{}}}`
	r := backend.Request{Converse: true, Prompt: "hello", Schema: json.RawMessage(schema)}
	wrote := written(t, "claude", r)
	if len(wrote) != 1 || field(wrote[0], "request", "subtype") != "initialize" {
		t.Fatalf("told %v first", wrote)
	}
	if diff := cmp.Diff(map[string]any{"type": "object", "properties": map[string]any{"b": map[string]any{}, "a": map[string]any{}}}, field(wrote[0], "request", "jsonSchema")); diff != "" {
		t.Errorf("the schema: (-want +got)\n%s", diff)
	}
	if wrote = written(t, "claude", r, initialized); len(wrote) != 2 || field(wrote[1], "message", "content", 0, "text") != "hello" {
		t.Errorf("told %v", wrote)
	}
	refused := strings.Replace(initialized, `"success"`, `"error","error":"no such thing"`, 1)
	if wrote = written(t, "claude", r, refused); len(wrote) != 1 {
		t.Errorf("told %v after a refusal", wrote)
	}
	if s := listen(t, feed(machineOf(t, "claude", r), lines(refused))); s.ended() != "cli_error" || !strings.Contains(s.End.Failure.Message, "no such thing") {
		t.Errorf("refused: %+v", s.End)
	}
	asked := written(t, "claude", backend.Request{Converse: true}, `{"type":"control_request","request_id":"q7","request":{"subtype":"request_user_dialog"}}`)
	if len(asked) != 2 || field(asked[1], "response", "subtype") != "error" || field(asked[1], "response", "request_id") != "q7" {
		t.Errorf("asked, it says %v", asked)
	}
	b, err := New(backend.Config{Kind: "claude"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Command(backend.Request{Converse: true, Schema: json.RawMessage(`{"type":`)}); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("a schema that is no JSON: %v", err)
	}
	if argv := strings.Join(commandOf(t, backend.Config{Kind: "claude"}, r).Argv, " "); strings.Contains(argv, "properties") {
		t.Errorf("the schema shows in %q", argv)
	}
}

// Held to the real CLI, which drops the others without a word, and the Messages API, which
// takes only objects.
func TestClaude_TakesSchema(t *testing.T) {
	b, err := New(backend.Config{Kind: "claude"})
	if err != nil {
		t.Fatal(err)
	}
	for schema, want := range map[string]bool{
		person: true, `{"type":"object"}`: true,
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}`:                          true, // dropped before it is told
		`{"type":"object","properties":{"a":{"items":[{"type":"string"}],"additionalItems":false}}}`:          true,
		`{"type":"object","properties":{"prefixItems":{"type":"string"},"unevaluatedProperties":{}}}`:         true, // names, not keywords
		`{"type":"object","default":{"prefixItems":1},"properties":{"a":{"enum":[{"dependentRequired":1}]}}}`: true,
		`{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"string"}}}`:           true,
		`{"type":"object","dependencies":{"a":["b"]}}`:                                                        true,
		`{"type":"object","properties":{"a":{"$ref":"https://example.com/a.json"}}}`:                          false,
		`{"type":"object","properties":{"a":{"prefixItems":[{"type":"string"}]}}}`:                            false,
		`{"type":"object","properties":{"a":{"anyOf":[{"type":"null"},{"unevaluatedProperties":false}]}}}`:    false,
		`{"type":"object","dependentRequired":{"a":["b"]}}`:                                                   false,
		`{"type":"object","$defs":{"a":{"$dynamicAnchor":"x"}}}`:                                              false,
		`{"type":"array"}`: false, `{"type":"string"}`: false, `{}`: false, `true`: false, `"x"`: false, `null`: false, ``: false,
		`{"type":"object","anyOf":[{}]}`: false, `{"type":"object","oneOf":[{}]}`: false, `{"type":"object","allOf":[{}]}`: false,
		`{"type":["object","null"]}`: false, `{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}`: false,
		`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`: true, `{"$schema":"http://json-schema.org/draft-04/schema#","type":"object"}`: false,
		`{"type":"object","patternProperties":{"^x-":{}}}`: true, `{"type":"object","patternProperties":{"(?i)^x-":{}}}`: false,
	} {
		if got := b.Features().TakesSchema(json.RawMessage(schema)); got != want {
			t.Errorf("%s: %t, want %t", schema, got, want)
		}
	}
	// Of the patterns that RE2 takes, those that JavaScript in its "u" mode doesn't, or reads otherwise.
	for pattern, want := range map[string]bool{
		`^[a-z0-9-]+$`: true, `^\d{4}-\d{2}-\d{2}$`: true, `^(?:a|b)*?$`: true, `[\w.\-]+@[^@\]]+`: true, `\x41\p{L}`: true, `a{2,}`: true, `^\/x\.$`: true, `é+`: true,
		`(?i)x`: false, `(?P<n>x)`: false, `(?s:x)`: false, `\Ax\z`: false, `\Qa\E`: false, `\pL`: false, `\x{41}`: false, `\_`: false, `\-`: false, `\a`: false,
		`[[:alpha:]]`: false, `[\w-.]`: false, `[a-z\d_-]`: true, `\p{Greek}`: false, `^*`: false, `\b{2}`: false, `x{`: false, `x}`: false, `x]`: false, `a{,2}`: false, `[\_]`: false, `\s`: true, `[\s\S]`: true,
	} {
		raw, _ := json.Marshal(pattern)
		if got := b.Features().TakesSchema(json.RawMessage(`{"type":"object","properties":{"a":{"pattern":` + string(raw) + `}}}`)); got != want {
			t.Errorf("pattern %s: %t, want %t", pattern, got, want)
		}
	}
}

// What pi says when it is spoken to and has no turn to tell of.
func TestPi_Converses(t *testing.T) {
	user := func(images int) string {
		return `{"type":"message_start","message":{"role":"user","content":[{"type":"text","text":"x"}` + strings.Repeat(`,{"type":"image","data":"eA=="}`, images) + `]}}`
	}
	state := func(images, model string) string {
		return strings.NewReplacer("images: 1", "images: "+images, `{"id":"m","provider":"p","input":["text","image"]}`, model).Replace(seeing)
	}
	for _, row := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"it sees", []string{seeing, user(1)}, "nothing"},
		{"it can't see", []string{state("1", `{"id":"m","provider":"p","input":["text"]}`)}, "unsupported_input"},
		{"and need not", []string{state("0", `{"id":"m","provider":"p","input":["text"]}`)}, "nothing"},
		{"no model", []string{state("1", "null"), `{"id":"prompt","type":"response","command":"prompt","success":false,"error":"No API key found for fake.\n\nUse /login"}`}, "provider_auth"},
		{"one is left out", []string{state("2", `{"input":["image"]}`), user(1)}, "unsupported_input"},
		{"all are", []string{seeing, `{"type":"message_start","message":{"role":"user","content":"x"}}`}, "unsupported_input"},
		{"the prompt is refused", []string{seeing, `{"id":"prompt","type":"response","command":"prompt","success":false,"error":"busy"}`}, "cli_error"},
		{"the state is refused", []string{`{"id":"state, images: 0","type":"response","command":"get_state","success":false,"error":"x"}`}, "cli_error"},
		{"a later message", []string{seeing, user(1), user(0)}, "nothing"},
	} {
		if s := listen(t, feed(machineOf(t, "pi", backend.Request{Converse: true}), lines(row.lines...))); s.ended() != row.want {
			t.Errorf("%s: ended with %s (%+v), want %s", row.name, s.ended(), s.End, row.want)
		}
	}
	for method, dialog := range map[string]bool{"select": true, "confirm": true, "input": true, "editor": true, "notify": false, "setStatus": false} {
		wrote := written(t, "pi", backend.Request{Converse: true}, `{"type":"extension_ui_request","id":"u1","method":"`+method+`"}`)
		if answered := len(wrote) == 2 && field(wrote[1], "id") == "u1" && field(wrote[1], "cancelled") == true; answered != dialog {
			t.Errorf("%s: told %v", method, wrote)
		}
	}
}

func FuzzClaudeConverse(f *testing.F) {
	fuzzRequest(f, "claude", backend.Request{Converse: true})
}

func FuzzClaudeSchema(f *testing.F) {
	fuzzRequest(f, "claude", backend.Request{Converse: true, Schema: json.RawMessage(person)})
}

func FuzzPiConverse(f *testing.F) { fuzzRequest(f, "pi", backend.Request{Converse: true}) }
