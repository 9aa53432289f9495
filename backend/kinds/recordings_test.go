package kinds

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

// What the two print-mode CLIs make of each scenario of the scripted model.
func TestKinds_Recordings(t *testing.T) {
	const whole = "marked-user-turns=1"
	for _, row := range []struct {
		kind, scenario string
		text, ended    string
		message        string // part of a failure's message
		voids, notices int
	}{
		{kind: "claude", scenario: "text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{kind: "claude", scenario: "system", text: "tok0 tok1 " + whole, ended: "stop"},
		{kind: "claude", scenario: "think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{kind: "claude", scenario: "resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{kind: "claude", scenario: "e400", ended: "cli_error 400", message: "scripted error 400"},
		{kind: "claude", scenario: "e401", ended: "provider_auth 401", message: "scripted error 401"},
		{kind: "claude", scenario: "e429", ended: "provider_rate_limit 429", message: "scripted error 429"},
		{kind: "claude", scenario: "e500", ended: "provider_error 500", message: "scripted error 500"},
		{kind: "claude", scenario: "mid", ended: "provider_error 529", message: "scripted error in the stream", voids: 1},
		{kind: "claude", scenario: "abrupt", ended: "provider_error", message: "ECONNRESET", voids: 1},
		{kind: "claude", scenario: "void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "claude", scenario: "void-event", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1},
		{kind: "claude", scenario: "killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},

		{kind: "pi", scenario: "text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{kind: "pi", scenario: "system", text: "tok0 tok1 " + whole, ended: "stop"},
		{kind: "pi", scenario: "think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{kind: "pi", scenario: "resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{kind: "pi", scenario: "empty", ended: "stop"},
		{kind: "pi", scenario: "e400", ended: "cli_error 400", message: "scripted error 400"},
		{kind: "pi", scenario: "e401", ended: "provider_auth 401", message: "scripted error 401"},
		{kind: "pi", scenario: "e429", ended: "provider_rate_limit 429", message: "scripted error 429"},
		{kind: "pi", scenario: "e500", ended: "provider_error 500", message: "scripted error 500"},
		{kind: "pi", scenario: "mid", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "scripted error in the stream"},
		{kind: "pi", scenario: "abrupt", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "terminated"},
		{kind: "pi", scenario: "void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "pi", scenario: "killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},
	} {
		t.Run(row.kind+"/"+row.scenario, func(t *testing.T) {
			s := listen(t, replay(t, row.kind, row.scenario, backend.Request{}))
			if s.Text != row.text {
				t.Errorf("text %q, want %q", s.Text, row.text)
			}
			if s.ended() != row.ended {
				t.Errorf("ended with %s (%+v), want %s", s.ended(), s.End, row.ended)
			}
			if row.message != "" && !strings.Contains(s.End.Failure.Message, row.message) {
				t.Errorf("message %q, want %q in it", s.End.Failure.Message, row.message)
			}
			if len(s.Voids) != row.voids || len(s.Notices) != row.notices {
				t.Errorf("voids %v, notices %q: want %d and %d", s.Voids, s.Notices, row.voids, row.notices)
			}
			// pi's is only on disk with the first whole answer.
			if unsaved := row.kind == "pi" && row.scenario == "killed"; (s.Session == "") != unsaved {
				t.Errorf("session %q, unsaved %v", s.Session, unsaved)
			}
		})
	}
}

// Each delta of the model is one event: nothing waits for the end of a message.
func TestKinds_Deltas(t *testing.T) {
	for _, kind := range []string{"claude", "pi"} {
		s := listen(t, replay(t, kind, "text", backend.Request{}))
		if s.deltas != 5 {
			t.Errorf("%s: %d text events, the model sent 5 deltas", kind, s.deltas)
		}
	}
}

func TestKinds_Thinking(t *testing.T) {
	for _, kind := range []string{"claude", "pi"} {
		s := listen(t, replay(t, kind, "think", backend.Request{}))
		if s.Reasoning != "thought0 thought1 thought2 " || strings.Contains(s.Text, "thought") {
			t.Errorf("%s: reasoning %q, text %q", kind, s.Reasoning, s.Text)
		}
	}
}

func TestKinds_ToolSteps(t *testing.T) {
	for kind, name := range map[string]string{"claude": "Bash", "pi": "bash"} {
		s := listen(t, replay(t, kind, "tool", backend.Request{}))
		if len(s.Tools) != 2 {
			t.Fatalf("%s: tools %+v", kind, s.Tools)
		}
		begun, done := s.Tools[0], s.Tools[1]
		if begun.Name != name || begun.Status != "started" || !strings.Contains(begun.Input, "echo from-the-tool") {
			t.Errorf("%s: began with %+v", kind, begun)
		}
		if done.Name != name || done.Status != "completed" || strings.TrimSpace(done.Output) != "from-the-tool" || done.ID != begun.ID || done.ID == "" {
			t.Errorf("%s: ended with %+v", kind, done)
		}
		if !strings.Contains(s.Text, "tool-said: from-the-tool") || s.ended() != "stop" {
			t.Errorf("%s: text %q, ended with %s", kind, s.Text, s.ended())
		}
	}
}

// The scripted model reports 100 input tokens beside 20 cached ones, and 12 of
// output, for each call.
func TestKinds_Usage(t *testing.T) {
	for _, row := range []struct {
		kind, scenario string
		calls          int64
	}{
		{"claude", "text", 1}, {"claude", "tool", 2}, {"claude", "resume", 1}, {"claude", "void", 2}, // claude counts the broken call too
		{"pi", "text", 1}, {"pi", "tool", 2}, {"pi", "resume", 1}, {"pi", "void", 1}, // pi doesn't know
	} {
		u := listen(t, replay(t, row.kind, row.scenario, backend.Request{})).Usage
		if u == nil {
			t.Errorf("%s %s: no usage", row.kind, row.scenario)
			continue
		}
		if *u.PromptTokens != 120*row.calls || *u.CompletionTokens != 12*row.calls || u.CachedTokens == nil || *u.CachedTokens != 20*row.calls || u.CostUSD == nil {
			t.Errorf("%s %s: usage %+v, want %d calls", row.kind, row.scenario, *u, row.calls)
		}
	}
	for _, kind := range []string{"claude", "pi"} {
		if s := listen(t, replay(t, kind, "e401", backend.Request{})); s.Usage != nil {
			t.Errorf("%s: usage %+v of a call that was refused: absent is not zero", kind, *s.Usage)
		}
	}
}

// requestOf is the request a recording was made with, as a later reader has it:
// its session, when it took one up, and which of its forms the CLI had.
func requestOf(t *testing.T, kind, scenario string) backend.Request {
	t.Helper()
	r := backend.Request{Converse: kind == "gemini" && !strings.HasSuffix(scenario, "resume") && scenario != "images-resumed"}
	if kind == "gemini" || !strings.Contains(scenario, "resume") {
		return r
	}
	found := regexp.MustCompile(`"sessionId":"([^"]+)"`).FindSubmatch(recording(t, kind, scenario))
	if found == nil {
		t.Fatalf("%s %s names no session", kind, scenario)
	}
	r.Session = string(found[1])
	return r
}

// What the three ACP agents make of each scenario of the scripted model.
func TestACP_Recordings(t *testing.T) {
	const whole = "marked-user-turns=1"
	for _, row := range []struct {
		kind, scenario string
		text, ended    string
		message        string // part of a failure's message
		voids, notices int
	}{
		{kind: "kimi", scenario: "text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{kind: "kimi", scenario: "system", text: "tok0 tok1 " + whole, ended: "stop"},
		{kind: "kimi", scenario: "think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{kind: "kimi", scenario: "tool", text: "tok0 tok1 tok2 tok3 tok4 tool-said: from-the-tool " + whole, ended: "stop"},
		{kind: "kimi", scenario: "resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{kind: "kimi", scenario: "empty", ended: "cli_error", message: "without text"},
		{kind: "kimi", scenario: "e400", ended: "cli_error 400", message: "scripted error 400"},
		{kind: "kimi", scenario: "e401", ended: "provider_auth 401", message: "scripted error 401"},
		{kind: "kimi", scenario: "e429", ended: "provider_rate_limit 429", message: "scripted error 429"},
		{kind: "kimi", scenario: "e500", ended: "provider_error 500", message: "scripted error 500"},
		// kimi itself calls these two a turn like any other.
		{kind: "kimi", scenario: "mid", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "scripted error in the stream"},
		{kind: "kimi", scenario: "abrupt", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "ECONNRESET"},
		{kind: "kimi", scenario: "void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "kimi", scenario: "void-event", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "kimi", scenario: "killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},

		{kind: "gemini", scenario: "converse-text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{kind: "gemini", scenario: "converse-system", text: "tok0 tok1 " + whole, ended: "stop"},
		{kind: "gemini", scenario: "converse-think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{kind: "gemini", scenario: "converse-tool", text: "tok0 tok1 tok2 tok3 tok4 tool-said: from-the-tool " + whole, ended: "stop"},
		{kind: "gemini", scenario: "converse-resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"}, // by print mode
		{kind: "gemini", scenario: "converse-empty", ended: "cli_error", message: "without text"},
		{kind: "gemini", scenario: "converse-cut", text: "tok0 tok1 tok2 " + whole, ended: "length"},
		{kind: "gemini", scenario: "converse-refusal", ended: "content_filter"},
		{kind: "gemini", scenario: "converse-refusal-text", text: "tok0 tok1 tok2 ", ended: "content_filter"},
		{kind: "gemini", scenario: "converse-halves", text: "tok0 tok1 tok2 😀" + whole, ended: "stop"},
		{kind: "gemini", scenario: "converse-e400", ended: "cli_error 400", message: "scripted error 400"},
		{kind: "gemini", scenario: "converse-e401", ended: "provider_auth 401", message: "scripted error 401"},
		{kind: "gemini", scenario: "converse-e429", ended: "provider_rate_limit 429", message: "scripted error 429"},
		{kind: "gemini", scenario: "converse-e500", ended: "provider_error 500", message: "scripted error 500"},
		{kind: "gemini", scenario: "converse-mid", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "scripted error in the stream"},
		// It says 500 itself.
		{kind: "gemini", scenario: "converse-abrupt", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "broke off: read ECONNRESET"},
		{kind: "gemini", scenario: "converse-void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "gemini", scenario: "converse-void-event", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "gemini", scenario: "converse-killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},

		{kind: "opencode", scenario: "text", text: "tok0 tok1 tok2 tok3 " + whole, ended: "stop"},
		{kind: "opencode", scenario: "system", text: "tok0 tok1 " + whole, ended: "stop"},
		{kind: "opencode", scenario: "think", text: "tok0 tok1 tok2 " + whole, ended: "stop"},
		{kind: "opencode", scenario: "tool", text: "tok0 tok1 tok2 tok3 tok4 tool-said: from-the-tool " + whole, ended: "stop", notices: 1},
		{kind: "opencode", scenario: "resume", text: "tok0 tok1 recalled: heron marked-user-turns=2", ended: "stop"},
		{kind: "opencode", scenario: "empty", ended: "cli_error", message: "without text"},
		{kind: "opencode", scenario: "e400", ended: "cli_error 400", message: "scripted error 400"},
		{kind: "opencode", scenario: "e401", ended: "provider_auth 401", message: "scripted error 401"},
		{kind: "opencode", scenario: "e429", ended: "provider_rate_limit 429", message: "scripted error 429"},
		{kind: "opencode", scenario: "e500", ended: "provider_error 500", message: "scripted error 500"},
		// It is given three attempts, not its own five. Of "mid", the last one's text comes late.
		{kind: "opencode", scenario: "mid", ended: "provider_error", message: "scripted error in the stream", voids: 2, notices: 2},
		{kind: "opencode", scenario: "abrupt", text: "tok0 tok1 tok2 ", ended: "provider_error", message: "connection was closed", voids: 2, notices: 2},
		{kind: "opencode", scenario: "void", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "opencode", scenario: "void-event", text: "tok0 tok1 tok2 " + whole, ended: "stop", voids: 1, notices: 1},
		{kind: "opencode", scenario: "killed", text: "tok0 tok1 ", ended: "nothing", notices: 1},
	} {
		t.Run(row.kind+"/"+row.scenario, func(t *testing.T) {
			s := listen(t, replay(t, row.kind, row.scenario, requestOf(t, row.kind, row.scenario)))
			if s.Text != row.text {
				t.Errorf("text %q, want %q", s.Text, row.text)
			}
			if s.ended() != row.ended {
				t.Errorf("ended with %s (%+v), want %s", s.ended(), s.End, row.ended)
			}
			if row.message != "" && !strings.Contains(s.End.Failure.Message, row.message) {
				t.Errorf("message %q, want %q in it", s.End.Failure.Message, row.message)
			}
			if len(s.Voids) != row.voids || len(s.Notices) != row.notices {
				t.Errorf("voids %v, notices %q: want %d and %d", s.Voids, s.Notices, row.voids, row.notices)
			}
			if s.Session == "" {
				t.Error("no session")
			}
		})
	}
}

func TestACP_DeltasAreEvents(t *testing.T) {
	for _, kind := range []string{"kimi", "opencode"} {
		s := listen(t, replay(t, kind, "text", backend.Request{}))
		if s.deltas != 5 {
			t.Errorf("%s: %d text events, the model sent 5 deltas", kind, s.deltas)
		}
		think := listen(t, replay(t, kind, "think", backend.Request{}))
		if think.Reasoning != "thought0 thought1 thought2 " || strings.Contains(think.Text, "thought") {
			t.Errorf("%s: reasoning %q, text %q", kind, think.Reasoning, think.Text)
		}
	}
}

func TestACP_ToolSteps(t *testing.T) {
	for kind, name := range map[string]string{"kimi": "Bash", "opencode": "bash"} {
		s := listen(t, replay(t, kind, "tool", backend.Request{}))
		if len(s.Tools) != 2 {
			t.Fatalf("%s: tools %+v", kind, s.Tools)
		}
		begun, done := s.Tools[0], s.Tools[1]
		if begun.Name != name || begun.Status != "started" || !strings.Contains(begun.Input, "echo from-the-tool") {
			t.Errorf("%s: began with %+v", kind, begun)
		}
		if done.Name != name || done.Status != "completed" || strings.TrimSpace(done.Output) != "from-the-tool" || done.ID != begun.ID || done.ID == "" {
			t.Errorf("%s: ended with %+v", kind, done)
		}
	}
}

// kimi's are the differences of its session total: 120 tokens in, 12 out a call,
// also after an earlier turn. opencode's are those of the last call.
func TestACP_Usage(t *testing.T) {
	for _, row := range []struct {
		kind, scenario string
		want           *backend.Usage
	}{
		{"kimi", "text", &backend.Usage{PromptTokens: number[int64](120), CompletionTokens: number[int64](12)}},
		{"kimi", "tool", &backend.Usage{PromptTokens: number[int64](240), CompletionTokens: number[int64](24)}},
		{"kimi", "resume", &backend.Usage{PromptTokens: number[int64](120), CompletionTokens: number[int64](12)}},
		{"kimi", "mid", nil},
		{"kimi", "e401", nil},
		{"opencode", "text", &backend.Usage{PromptTokens: number[int64](120), CompletionTokens: number[int64](12), CachedTokens: number[int64](20)}},
		{"opencode", "tool", &backend.Usage{PromptTokens: number[int64](120), CompletionTokens: number[int64](12), CachedTokens: number[int64](20)}},
		{"opencode", "e401", nil},
		{"gemini", "converse-text", &backend.Usage{PromptTokens: number[int64](120), CompletionTokens: number[int64](12)}},
		{"gemini", "converse-tool", &backend.Usage{PromptTokens: number[int64](240), CompletionTokens: number[int64](24)}},
		{"gemini", "converse-e401", nil},
	} {
		got := listen(t, replay(t, row.kind, row.scenario, requestOf(t, row.kind, row.scenario))).Usage
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s %s: (-want +got)\n%s", row.kind, row.scenario, diff)
		}
	}
}

// gemini as an agent tells each thought whole, a tool's name in the call's id alone, and
// nothing of what came of it.
func TestGemini_AsAnAgent(t *testing.T) {
	s := listen(t, replay(t, "gemini", "converse-tool", backend.Request{Converse: true}))
	if len(s.Tools) != 2 || s.Tools[0].Name != "run_shell_command" || s.Tools[0].Input != "echo from-the-tool" || s.Tools[1].Status != "completed" {
		t.Errorf("tools %+v", s.Tools)
	}
	s = listen(t, replay(t, "gemini", "converse-think", backend.Request{Converse: true}))
	if s.Reasoning != "thought0\n\nthought1\n\nthought2" || s.deltas != 4 {
		t.Errorf("reasoning %q, %d text events", s.Reasoning, s.deltas)
	}
	s = listen(t, feed(machineOf(t, "gemini", backend.Request{Converse: true}), lines(plainAgent, `{"id":1,"error":{"code":-32000,"message":"Gemini API key is missing or not configured."}}`)))
	if s.ended() != "provider_auth" || !strings.Contains(s.End.Failure.Message, "selectedType") {
		t.Errorf("without a login: %+v", s.End)
	}
}

func FuzzKimi(f *testing.F) { fuzz(f, "kimi") }

func FuzzOpencode(f *testing.F) { fuzz(f, "opencode") }

func FuzzACP(f *testing.F) { fuzz(f, "acp") }

func FuzzKimiSchema(f *testing.F) {
	fuzzRequest(f, "kimi", backend.Request{Schema: json.RawMessage(person)})
}
