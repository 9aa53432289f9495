package kinds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

// talk plays an agent: it feeds lines to a machine and gives the events and what
// the machine wrote, as "method" or "reply id".
func talk(t *testing.T, kind string, r backend.Request, lines ...string) (events []backend.Event, wrote []string, raw [][]byte) {
	t.Helper()
	b, err := New(backend.Config{Name: kind, Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	m := b.Machine(r)
	raw = m.Open()
	for _, line := range lines {
		got, write := m.Line([]byte(line))
		events = append(events, got...)
		raw = append(raw, write...)
	}
	events = append(events, m.Close()...)
	for _, line := range raw {
		var w struct {
			ID     json.RawMessage
			Method string
		}
		if err := json.Unmarshal(line, &w); err != nil {
			t.Fatalf("wrote %s: %v", line, err)
		}
		if w.Method == "" {
			w.Method = "reply " + string(w.ID)
		}
		wrote = append(wrote, w.Method)
	}
	return events, wrote, raw
}

const (
	plainAgent  = `{"id":0,"result":{"agentCapabilities":{}}}`
	loadAgent   = `{"id":0,"result":{"agentCapabilities":{"loadSession":true}}}`
	resumeAgent = `{"id":0,"result":{"agentCapabilities":{"loadSession":true,"sessionCapabilities":{"resume":{}}}}}`
	opened      = `{"id":1,"result":{"sessionId":"s1"}}`
)

func chunk(text string) string {
	return fmt.Sprintf(`{"method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":%q}}}}`, text)
}

// say is a chunk of a message with an id.
func say(id, text string) string {
	return strings.Replace(chunk(text), `"content"`, `"messageId":"`+id+`","content"`, 1)
}

func answered(id int, result string) string { return fmt.Sprintf(`{"id":%d,"result":%s}`, id, result) }

// The steps each machine takes with the real CLI's answers, and the words in them.
func TestACP_Conversation(t *testing.T) {
	for _, row := range []struct {
		kind, scenario string
		r              backend.Request
		want           []string
		within         []string
	}{
		{"kimi", "text", backend.Request{Cwd: "/w", Prompt: "hello"},
			[]string{"initialize", "session/new", "session/set_mode", "session/prompt", "session/prompt", "session/close"},
			[]string{`"cwd":"/w"`, `"modeId":"yolo"`, `"text":"hello"`, `"text":"/usage"`}},
		{"kimi", "resume", backend.Request{Cwd: "/w", Prompt: "hello", Session: requestOf(t, "kimi", "resume").Session},
			[]string{"initialize", "session/resume", "session/set_mode", "session/prompt", "session/prompt", "session/prompt", "session/close"},
			[]string{`"text":"/usage"`, `"text":"hello"`}},
		{"opencode", "text", backend.Request{Cwd: "/w", Prompt: "hello", System: "be brief"},
			[]string{"initialize", "session/new", "session/prompt", "session/list"},
			[]string{`"text":"be brief\n\nhello"`}},
		{"opencode", "text", backend.Request{Cwd: "/w", Prompt: "/etc/hosts?", Model: "fake/fake-model"},
			[]string{"initialize", "session/new", "session/prompt", "session/list"},
			[]string{`message\u003e\n/etc/hosts?\n\u003c/message`}},
	} {
		lines := strings.Split(strings.TrimSpace(string(recording(t, row.kind, row.scenario))), "\n")
		_, wrote, raw := talk(t, row.kind, row.r, lines...)
		if diff := cmp.Diff(row.want, wrote); diff != "" {
			t.Errorf("%s %s: (-want +got)\n%s", row.kind, row.scenario, diff)
		}
		var all []string
		for _, line := range raw {
			all = append(all, string(line))
		}
		for _, word := range row.within {
			if !strings.Contains(strings.Join(all, "\n"), word) {
				t.Errorf("%s %s: %s is not in\n%s", row.kind, row.scenario, word, strings.Join(all, "\n"))
			}
		}
	}
}

// What an agent replays of old turns is not the answer, wherever it comes before
// the prompt; what other sessions say never is.
func TestACP_HistoryIsNoAnswer(t *testing.T) {
	old := backend.Request{Session: "s1"}
	other := strings.Replace(chunk("other"), `"s1"`, `"s2"`, 1)
	events, wrote, _ := talk(t, "acp", old, loadAgent, chunk("old answer"), answered(1, "{}"), other, chunk("new"), answered(2, `{"stopReason":"end_turn"}`), chunk("late"))
	s := listen(t, events)
	if s.Text != "new" || s.ended() != "stop" {
		t.Errorf("text %q, ended with %s", s.Text, s.ended())
	}
	if want := []string{"initialize", "session/load", "session/prompt"}; !slices.Equal(wrote, want) {
		t.Errorf("wrote %q, want %q", wrote, want)
	}
	const modes = `{"modes":{"currentModeId":"default","availableModes":[{"id":"plan"}]}}`
	events, _, _ = talk(t, "acp", backend.Request{Session: "s1", Permissions: "plan"}, loadAgent, answered(1, modes), chunk("old answer, late"), answered(2, "{}"), chunk("new"), answered(3, `{"stopReason":"end_turn"}`))
	if s := listen(t, events); s.Text != "new" {
		t.Errorf("text %q: history after the load's answer counts", s.Text)
	}
	const modeless = `{"modes":{"currentModeId":"default"}}`
	events, wrote, _ = talk(t, "acp", old, loadAgent, answered(1, modeless), chunk("old answer, late"), answered(2, "{}"), chunk("new"), answered(3, `{"stopReason":"end_turn"}`), answered(4, "{}"))
	if s := listen(t, events); s.Text != "new" || wrote[2] != "session/set_mode" {
		t.Errorf("text %q, wrote %q: nothing was asked between the load and the prompt", s.Text, wrote)
	}
	if _, wrote, _ = talk(t, "acp", old, resumeAgent); wrote[1] != "session/resume" {
		t.Errorf("wrote %q: resume replays nothing and is better", wrote)
	}
	events, _, _ = talk(t, "acp", old, plainAgent)
	if s := listen(t, events); s.ended() != "cli_error" {
		t.Errorf("an agent that can't resume: %s", s.ended())
	}
}

func TestACP_ModesAndModels(t *testing.T) {
	const (
		both    = `{"sessionId":"s1","modes":{"currentModeId":"default","availableModes":[{"id":"default"},{"id":"plan"},{"id":"yolo"}]},"models":{"currentModelId":"a","availableModels":[{"modelId":"a"},{"modelId":"b"}]}}`
		options = `{"sessionId":"s1","configOptions":[{"id":"model","category":"model","currentValue":"a","options":[{"value":"a"}]},{"id":"mode","category":"mode","currentValue":"build","options":[{"value":"build"},{"value":"plan"}]}]}`
		none    = `{"sessionId":"s1"}`
	)
	for _, row := range []struct {
		name, kind, session string
		r                   backend.Request
		want                []string // after session/new
		ended               string
	}{
		{"nothing asked", "acp", both, backend.Request{}, []string{"session/prompt"}, "nothing"},
		{"bypass", "kimi", both, backend.Request{}, []string{"session/set_mode", "session/prompt"}, "nothing"},
		{"plan", "acp", both, backend.Request{Permissions: "plan"}, []string{"session/set_mode", "session/prompt"}, "nothing"},
		{"plan as an option", "opencode", options, backend.Request{Permissions: "plan"}, []string{"session/set_config_option", "session/prompt"}, "nothing"},
		{"no plan mode", "acp", none, backend.Request{Permissions: "plan"}, nil, "cli_error"},
		{"no bypass mode", "kimi", none, backend.Request{}, []string{"session/prompt"}, "nothing"},
		{"model", "acp", both, backend.Request{Model: "b"}, []string{"session/set_model", "session/prompt"}, "nothing"},
		{"current model", "acp", both, backend.Request{Model: "a"}, []string{"session/prompt"}, "nothing"},
		{"model as an option", "opencode", options, backend.Request{Model: "b"}, []string{"session/set_config_option", "session/prompt"}, "nothing"},
		{"no choice of model", "acp", none, backend.Request{Model: "b"}, nil, "cli_error"},
	} {
		events, wrote, _ := talk(t, row.kind, row.r, plainAgent, answered(1, row.session), answered(2, "{}"))
		if diff := cmp.Diff(row.want, wrote[2:]); diff != "" && len(row.want)+len(wrote[2:]) > 0 {
			t.Errorf("%s: (-want +got)\n%s", row.name, diff)
		}
		if s := listen(t, events); s.ended() != row.ended && !(row.ended == "nothing" && len(row.want) == 1) {
			t.Errorf("%s: ended with %s, want %s", row.name, s.ended(), row.ended)
		}
	}
}

func TestACP_PermissionRequests(t *testing.T) {
	ask := func(kinds ...string) string {
		var options []string
		for _, kind := range kinds {
			options = append(options, fmt.Sprintf(`{"optionId":"o-%s","kind":%q}`, kind, kind))
		}
		return `{"id":"p7","method":"session/request_permission","params":{"options":[` + strings.Join(options, ",") + `]}}`
	}
	all := ask("allow_always", "allow_once", "reject_always", "reject_once")
	for _, row := range []struct{ permissions, line, want string }{
		{"bypass", all, "o-allow_once"},
		{"bypass", ask("allow_always", "reject_once"), "o-allow_always"},
		{"bypass", ask("reject_once"), `"cancelled"`},
		{"default", all, "o-reject_once"},
		{"plan", ask("reject_always", "allow_once"), "o-reject_always"},
		{"default", ask("allow_once"), `"cancelled"`},
		{"bypass", `{"id":"p7","method":"fs/read_text_file","params":{}}`, "-32601"},
		{"bypass", `{"id":"p7","method":"terminal/create","params":{}}`, "-32601"},
		{"bypass", `{"id":"p7","method":"surprise"}`, "-32601"},
	} {
		_, wrote, raw := talk(t, "acp", backend.Request{Permissions: row.permissions}, row.line)
		if len(raw) != 2 || wrote[1] != `reply "p7"` || !strings.Contains(string(raw[1]), row.want) {
			t.Errorf("%s %s: wrote %s, want %s", row.permissions, row.line, raw, row.want)
		}
	}
}

// An agent that says it can resume and can't is asked to load.
func TestACP_ResumeRefused(t *testing.T) {
	events, wrote, _ := talk(t, "acp", backend.Request{Session: "s1"}, resumeAgent, `{"id":1,"error":{"code":-32601,"message":"Method not found"}}`, answered(2, "{}"), chunk("x"), answered(3, `{"stopReason":"end_turn"}`))
	if s := listen(t, events); s.Text != "x" || s.ended() != "stop" || !slices.Equal(wrote, []string{"initialize", "session/resume", "session/load", "session/prompt"}) {
		t.Errorf("text %q, ended with %s, wrote %q", s.Text, s.ended(), wrote)
	}
	events, _, _ = talk(t, "acp", backend.Request{Session: "s1"}, resumeAgent, `{"id":1,"error":{"code":-32601,"message":"x"}}`, `{"id":2,"error":{"code":-32602,"message":"no such session"}}`)
	if s := listen(t, events); s.ended() != "cli_error" {
		t.Errorf("neither: ended with %s", s.ended())
	}
}

const listAgent = `{"id":0,"result":{"agentCapabilities":{"sessionCapabilities":{"list":{}}}}}`

// Text that comes shortly after the prompt's answer is part of it.
func TestACP_LateText(t *testing.T) {
	end := answered(2, `{"stopReason":"end_turn"}`)
	events, wrote, _ := talk(t, "acp", backend.Request{}, listAgent, opened, chunk("one "), end, chunk("two"), answered(3, "{}"), chunk("not any more"))
	if s := listen(t, events); s.Text != "one two" || s.ended() != "stop" || wrote[len(wrote)-1] != "session/list" {
		t.Errorf("text %q, ended with %s, wrote %q", s.Text, s.ended(), wrote)
	}
	events, _, _ = talk(t, "acp", backend.Request{}, listAgent, opened, end, chunk("all of it"), answered(3, "{}"))
	if s := listen(t, events); s.Text != "all of it" || s.ended() != "stop" {
		t.Errorf("text %q, ended with %s", s.Text, s.ended())
	}
	events, _, _ = talk(t, "kimi", backend.Request{}, resumeAgent, opened, chunk("one "), end, chunk("two"), chunk("Context: 1\nSession total: 1 input, 1 output"), answered(3, "{}"), answered(4, "{}"))
	if s := listen(t, events); !strings.HasPrefix(s.Text, "one two") || s.ended() != "stop" {
		t.Errorf("kimi: text %q, ended with %s", s.Text, s.ended())
	}
}

// What kimi says of a compaction is no part of the model's answer; the model may say the like.
func TestKimi_Compaction(t *testing.T) {
	var lines []string
	for _, text := range []string{"Compacting conversation context…", "one. ", "Compaction completed.\n- Messages compacted: 1,234\n- Tokens before: 99,000\n- Tokens after: 12", "Compaction completed. ", "Compaction cancelled."} {
		line, _ := json.Marshal(text)
		lines = append(lines, strings.Replace(chunk("@"), `"@"`, string(line), 1))
	}
	lines = append([]string{resumeAgent, opened}, append(lines, answered(2, `{"stopReason":"end_turn"}`))...)
	events, _, _ := talk(t, "kimi", backend.Request{}, lines...)
	if s := listen(t, events); s.Text != "one. Compaction completed. " || len(s.Notices) != 3 {
		t.Errorf("text %q, notices %q", s.Text, s.Notices)
	}
}

// Lines of codex-acp 2.6.0, which ends a failed turn as any other.
func TestACP_CodexAgent(t *testing.T) {
	const agent = `{"id":0,"result":{"agentInfo":{"name":"@agentclientprotocol/codex-acp","version":"2.6.0"},"agentCapabilities":{}}}`
	status := func(word string) string {
		return `{"method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"session_info_update","_meta":{"codex":{"threadStatus":{"type":"` + word + `"}}}}}}`
	}
	end := answered(2, `{"stopReason":"end_turn"}`)
	for _, row := range []struct {
		name  string
		lines []string
		ended string
		text  string
	}{
		{"a good turn", []string{chunk("Warning: old model"), status("active"), say("m", "one"), status("idle"), end}, "stop", "one"},
		{"a failed one", []string{status("active"), status("systemError"), chunk("exceeded retry limit, last status: 429 Too Many Requests"), end}, "provider_rate_limit 429", ""},
		{"an outage", []string{status("systemError"), chunk("We’re currently experiencing high demand, which may cause temporary errors."), end}, "provider_error", ""},
		{"in mid-answer", []string{status("active"), say("m", "one"), status("systemError"), chunk("stream disconnected before completion: x"), end}, "provider_error", "one"},
		{"refused", []string{say("m", "one"), status("systemError"), chunk("stream disconnected before completion: Incomplete response returned, reason: content_filter"), end}, "content_filter", "one"},
		{"cut", []string{say("m", "one"), status("systemError"), chunk("Incomplete response returned, reason: max_output_tokens"), end}, "length", "one"},
		{"without a reason", []string{say("m", "one"), status("systemError"), end}, "cli_error", "one"},
		{"good after all", []string{status("systemError"), status("active"), say("m", "one"), status("idle"), end}, "stop", "one"},
	} {
		events, _, _ := talk(t, "acp", backend.Request{}, append([]string{agent, opened}, row.lines...)...)
		if s := listen(t, events); s.ended() != row.ended || s.Text != row.text {
			t.Errorf("%s: text %q, ended with %s (%+v), want %q, %s", row.name, s.Text, s.ended(), s.End, row.text, row.ended)
		}
	}
}

func TestACP_StopReasons(t *testing.T) {
	for reason, want := range map[string]string{
		"end_turn": "stop", "max_tokens": "length", "max_turn_requests": "length",
		"refusal": "content_filter", "cancelled": "cli_error", "": "cli_error", "news": "cli_error",
	} {
		events, _, _ := talk(t, "acp", backend.Request{}, plainAgent, opened, chunk("x"), answered(2, fmt.Sprintf(`{"stopReason":%q}`, reason)))
		if s := listen(t, events); s.ended() != want {
			t.Errorf("%q ends with %s, want %s", reason, s.ended(), want)
		}
	}
}

func TestACP_Errors(t *testing.T) {
	for _, row := range []struct{ name, line, want, message string }{
		{"code is the status", `{"code":429,"message":"slow down"}`, "provider_rate_limit 429", "slow down"},
		{"status in data", `{"code":-32603,"message":"Internal error","data":{"statusCode":503,"message":"busy"}}`, "provider_error 503", "Internal error: busy"},
		{"status in details", `{"code":-32603,"message":"Internal error","data":{"details":"error 401: wrong key"}}`, "provider_auth 401", "wrong key"},
		{"status in the message", `{"code":-32603,"message":"Internal error: HTTP 500"}`, "provider_error 500", "HTTP 500"},
		{"data is a text", `{"code":-32603,"message":"Internal error","data":"why"}`, "cli_error", "Internal error: why"},
		{"login wanted", `{"code":-32000,"message":"Authentication required"}`, "provider_auth", "Authentication"},
		{"nothing told", `{}`, "cli_error", "without a message"},
	} {
		events, _, _ := talk(t, "acp", backend.Request{}, plainAgent, opened, `{"id":2,"error":`+row.line+`}`)
		s := listen(t, events)
		if s.ended() != row.want || !strings.Contains(s.End.Failure.Message, row.message) {
			t.Errorf("%s: %s %+v, want %s", row.name, s.ended(), s.End.Failure, row.want)
		}
	}
	for id, what := range []string{"initialize", "session/new"} {
		lines := []string{plainAgent, opened}[:id]
		events, wrote, _ := talk(t, "acp", backend.Request{}, append(lines, fmt.Sprintf(`{"id":%d,"error":{"message":"no"}}`, id))...)
		if s := listen(t, events); s.ended() != "cli_error" || s.End.Failure.Message != what+": no" || len(wrote) != id+1 {
			t.Errorf("%s: %+v, wrote %q", what, s.End, wrote)
		}
	}
}

// A failed call after a tool has run: kimi's total stands still from then on.
func TestKimi_FailureAfterATool(t *testing.T) {
	tool := func(status string) string {
		return `{"method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"tool_call_update","toolCallId":"t","title":"Bash","status":"` + status + `"}}}`
	}
	total := func(in int) string {
		return chunk(fmt.Sprintf("Context: 1 tokens\nSession total: %d input, 5 output", in))
	}
	done := `{"stopReason":"end_turn"}`
	begin := []string{plainAgent, opened, tool("in_progress"), tool("completed")} // asks: 2 is the prompt, 3 the total
	for _, row := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"failed without text", []string{total(100), answered(3, done), answered(2, done), total(100), answered(4, done), answered(5, "{}")}, "cli_error"},
		{"broke off", []string{total(100), answered(3, done), chunk("half"), answered(2, done), total(100), answered(4, done), answered(5, "{}")}, "cli_error"},
		{"went on", []string{total(100), answered(3, done), chunk("all"), answered(2, done), total(220), answered(4, done), answered(5, "{}")}, "stop"},
		// The total came when the next call may have ended: no evidence.
		{"told late", []string{chunk("all"), total(220), answered(3, done), answered(2, done), total(220), answered(4, done), answered(5, "{}")}, "stop"},
		{"no tokens told", []string{total(0), answered(3, done), chunk("all"), answered(2, done), total(0), answered(4, done), answered(5, "{}")}, "stop"},
		{"words not known", []string{chunk("Tokens: many"), answered(3, done), chunk("all"), answered(2, done), answered(4, done), answered(5, "{}")}, "stop"},
		{"before it is saved", []string{total(100), answered(3, done), chunk("all"), answered(2, done), total(220), answered(4, done)}, "nothing"},
	} {
		events, _, _ := talk(t, "kimi", backend.Request{}, append(slices.Clone(begin), row.lines...)...)
		if s := listen(t, events); s.ended() != row.want {
			t.Errorf("%s: ended with %s, want %s", row.name, s.ended(), row.want)
		}
	}
}

// Only the messages from the first broken one on are sent anew.
func TestOpencode_BrokenMessage(t *testing.T) {
	lines := []string{plainAgent, opened, say("m1", "one"), say("m2", "vo"), say("m2", "two"), say("m3", "three"), answered(2, `{"stopReason":"end_turn"}`)}
	kept := []string{say("m0", "an earlier turn's"), say("m1", "one"), say("m2", "two"), say("m3", "three"), answered(3, "{}")}
	events, _, _ := talk(t, "opencode", backend.Request{}, append(slices.Clone(lines), kept...)...)
	s := listen(t, events)
	if s.Text != "one\n\ntwo\n\nthree" || !slices.Equal(s.Voids, []int{len("one")}) || s.ended() != "stop" {
		t.Errorf("text %q, voids %v, ended with %s", s.Text, s.Voids, s.ended())
	}
	events, _, _ = talk(t, "opencode", backend.Request{}, append(slices.Clone(lines), `{"id":3,"error":{"message":"no"}}`)...)
	if s := listen(t, events); s.Text != "one\n\nvotwo\n\nthree" || s.ended() != "stop" {
		t.Errorf("without a replay: text %q, ended with %s", s.Text, s.ended())
	}
}

// Text after a tool is another paragraph.
func TestACP_Paragraphs(t *testing.T) {
	tool := `{"method":"session/update","params":{"sessionId":"s1","update":{"sessionUpdate":"tool_call","toolCallId":"t","title":"Bash","status":"completed"}}}`
	events, _, _ := talk(t, "acp", backend.Request{}, plainAgent, opened, chunk("I look."), tool, chunk("It is "), chunk("there."))
	if s := listen(t, events); s.Text != "I look.\n\nIt is there." {
		t.Errorf("text %q", s.Text)
	}
}

func TestACP_PlainPrompt(t *testing.T) {
	for text, want := range map[string]string{
		"hello": "hello", "a /b": "a /b", "": "",
		"/init":    "<message>\n/init\n</message>",
		" \n/init": "<message>\n \n/init\n</message>",
		"\ufeff/x": "<message>\n\ufeff/x\n</message>",
	} {
		if got := backend.PlainPrompt(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestACP_Commands(t *testing.T) {
	r := backend.Request{Prompt: "sesame", System: "sesame", Tmp: "/t", Dir: "/d", MemoryMax: 2 << 30}
	for _, row := range []struct {
		kind string
		argv []string
		set  map[string]string
	}{
		{"kimi", []string{"acp", "-x"}, map[string]string{"TMPDIR": "/t", "KIMI_LOOP_MAX_ATTEMPTS_PER_STEP": "1", "NODE_OPTIONS": `--require="/d/provider.cjs" --max-old-space-size=1536`}},
		{"opencode", []string{"acp", "-x"}, map[string]string{"TMPDIR": "/t", "OPENCODE_PURE": "1", "BUN_INSPECT_PRELOAD": "/d/provider.cjs"}},
		{"acp", []string{"-x"}, map[string]string{"TMPDIR": "/t"}},
	} {
		c := commandOf(t, backend.Config{Kind: row.kind, ExtraArgs: []string{"-x"}}, r)
		if !slices.Equal(c.Argv, row.argv) || c.Input != backend.Conversation || len(c.Prompt) > 0 || c.Settle || c.SoftEnd {
			t.Errorf("%s: %+v", row.kind, c)
		}
		if scripted := len(c.Files) == 1 && c.Files[0].Name == "provider.cjs"; scripted != (row.kind != "acp") {
			t.Errorf("%s: files %+v", row.kind, c.Files)
		}
		for name, value := range row.set {
			if c.Set[name] != value {
				t.Errorf("%s: %s=%q, want %q", row.kind, name, c.Set[name], value)
			}
		}
		if strings.Contains(fmt.Sprint(c.Argv, c.Set), "sesame") {
			t.Errorf("%s shows the prompt: %+v", row.kind, c)
		}
		b, _ := New(backend.Config{Kind: row.kind})
		if _, err := b.Command(backend.Request{Permissions: "all"}); err == nil {
			t.Errorf("%s: permissions \"all\" are taken", row.kind)
		}
	}
}
