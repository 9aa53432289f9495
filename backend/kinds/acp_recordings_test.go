package kinds

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

// requestOf is the request a recording was made with, as a later reader has it:
// its session, when it took one up.
func requestOf(t *testing.T, kind, scenario string) backend.Request {
	t.Helper()
	if scenario != "resume" {
		return backend.Request{}
	}
	found := regexp.MustCompile(`"sessionId":"([^"]+)"`).FindSubmatch(recording(t, kind, scenario))
	if found == nil {
		t.Fatalf("%s %s names no session", kind, scenario)
	}
	return backend.Request{Session: string(found[1])}
}

// What the two ACP agents make of each scenario of the scripted model.
func TestACPRecordings(t *testing.T) {
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

func TestACPDeltasAreEvents(t *testing.T) {
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

func TestACPToolSteps(t *testing.T) {
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
func TestACPUsage(t *testing.T) {
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
	} {
		got := listen(t, replay(t, row.kind, row.scenario, requestOf(t, row.kind, row.scenario))).Usage
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s %s: (-want +got)\n%s", row.kind, row.scenario, diff)
		}
	}
}

func FuzzKimi(f *testing.F) { fuzz(f, "kimi") }

func FuzzOpencode(f *testing.F) { fuzz(f, "opencode") }

func FuzzACP(f *testing.F) { fuzz(f, "acp") }
