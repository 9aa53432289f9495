package kinds

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/backend/claude"
	"penstock/backend/parse"
)

func claudeSays(t *testing.T, l ...string) said {
	t.Helper()
	return listen(t, feed(claude.New(backend.Config{}).Machine(backend.Request{}), lines(l...)))
}

// Lines of the shapes that recordings have, for what no scripted model provokes.
const (
	claudeOK = `{"type":"result","is_error":false,"stop_reason":"end_turn"}`
)

func claudeResultOf(text string) string {
	return fmt.Sprintf(`{"type":"result","is_error":false,"stop_reason":"end_turn","result":%q}`, text)
}

func claudeStart(id string) string {
	return fmt.Sprintf(`{"type":"stream_event","event":{"type":"message_start","message":{"id":%q}},"parent_tool_use_id":null}`, id)
}

func claudeBlockStart(index int) string {
	return fmt.Sprintf(`{"type":"stream_event","event":{"type":"content_block_start","index":%d}}`, index)
}

func claudeDelta(text string) string {
	return fmt.Sprintf(`{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":%q}}}`, text)
}

func claudeAbandon(from int) string {
	return fmt.Sprintf(`{"type":"stream_event","event":{"type":"message_stop"},"abandoned_blocks":{"from_block_index":%d}}`, from)
}

func claudeWhole(id, text string) string {
	return fmt.Sprintf(`{"type":"assistant","message":{"id":%q,"content":[{"type":"text","text":%q}]}}`, id, text)
}

func TestClaude_Text(t *testing.T) {
	for _, row := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"a whole block repeats its deltas", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("one"), claudeWhole("a", "one"), claudeOK}, "one"},
		{"a message that was not streamed", []string{claudeWhole("a", "one"), claudeOK}, "one"},
		{"its blocks come one by one", []string{claudeWhole("a", "one "), claudeWhole("a", "two"), claudeOK}, "one two"},
		{"messages are paragraphs", []string{claudeStart("a"), claudeDelta("one"), claudeStart("b"), claudeDelta("two"), claudeOK}, "one\n\ntwo"},
		{"unless they are lines", []string{claudeStart("a"), claudeDelta("one\n"), claudeStart("b"), claudeDelta("two"), claudeOK}, "one\ntwo"},
		{"an abandoned message", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("void"), claudeAbandon(0), claudeStart("b"), claudeBlockStart(0), claudeDelta("one"), claudeOK}, "one"},
		{"abandoned, then whole", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("void"), claudeAbandon(0), claudeWhole("b", "one"), claudeOK}, "one"},
		{"abandoned after a good one", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("good"), claudeStart("b"), claudeBlockStart(0), claudeDelta("void"), claudeAbandon(0), claudeStart("c"), claudeDelta("one"), claudeOK}, "good\n\none"},
		{"only later blocks abandoned", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("good"), claudeBlockStart(1), claudeDelta("void"), claudeAbandon(1), claudeStart("b"), claudeDelta("one"), claudeOK}, "good\n\none"},
		{"abandoned before any text", []string{claudeStart("a"), claudeBlockStart(0), claudeAbandon(0), claudeStart("b"), claudeDelta("one"), claudeOK}, "one"},
		{"a subagent's text is no answer", []string{
			strings.Replace(claudeDelta("sub"), `{"type"`, `{"parent_tool_use_id":"t1","type"`, 1),
			strings.Replace(claudeWhole("s", "sub"), `{"type"`, `{"parent_tool_use_id":"t1","type"`, 1),
			claudeDelta("one"), claudeOK}, "one"},
		{"nor is the CLI's own", []string{strings.Replace(claudeWhole("s", "API Error"), `"id"`, `"model":"<synthetic>","id"`, 1), claudeDelta("one"), claudeOK}, "one"},
		{"a block longer than its deltas", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("on"), claudeWhole("a", "one more"), claudeOK}, "one more"},
		{"the second block is", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("one "), claudeWhole("a", "one "), claudeBlockStart(1), claudeDelta("tw"), claudeWhole("a", "two"), claudeOK}, "one two"},
		{"a block that differs from its deltas", []string{claudeStart("a"), claudeBlockStart(0), claudeDelta("one"), claudeWhole("a", "other"), claudeOK}, "one"},
		{"an answer that only the result has", []string{claudeStart("a"), claudeResultOf("one")}, "one"},
		{"after a tool", []string{claudeStart("a"), claudeDelta("I look."), claudeStart("b"), claudeResultOf("It is there.")}, "I look.\n\nIt is there."},
		{"a result longer than its deltas", []string{claudeStart("a"), claudeDelta("on"), claudeResultOf("one")}, "one"},
		{"a result that repeats the message before", []string{claudeStart("a"), claudeDelta("one"), claudeStart("b"), claudeResultOf("one")}, "one"},
		{"a result without its white space", []string{claudeStart("a"), claudeDelta("one\n"), claudeResultOf("one")}, "one\n"},
		{"the model goes on where the token limit cut it", []string{claudeStart("a"), claudeDelta("un"), `{"type":"stream_event","event":{"type":"message_delta","delta":{"stop_reason":"max_tokens"}}}`, claudeStart("b"), claudeDelta("broken"), claudeOK}, "unbroken"},
		{"a changed field loses only itself", []string{`{"type":"stream_event","session_id":7,"event":{"type":"content_block_delta","index":"x","delta":{"type":"text_delta","text":"one"}}}`, claudeOK}, "one"},
	} {
		if s := claudeSays(t, row.lines...); s.Text != row.want || s.ended() != "stop" {
			t.Errorf("%s: %q, ended with %s, want %q", row.name, s.Text, s.ended(), row.want)
		}
	}
}

func TestClaude_Ends(t *testing.T) {
	for line, want := range map[string]string{
		claudeOK: "cli_error", // nothing was said, done or asked of the model
		`{"type":"result","subtype":"success","is_error":false,"stop_reason":"max_tokens"}`:     "length",
		`{"type":"result","subtype":"success","is_error":true,"api_error_status":529}`:          "provider_error 529",
		`{"type":"result","subtype":"success","is_error":true,"api_error_status":403}`:          "provider_auth 403",
		`{"type":"result","is_error":true,"terminal_reason":"api_error","result":"no network"}`: "provider_error",
		`{"type":"result","subtype":"error_max_turns","is_error":true}`:                         "cli_error",
		`{"type":"result","is_error":true,"errors":["No conversation found"]}`:                  "cli_error",
		`{"type":"resul`: "nothing",
		`{"type":"result","is_error":false,"usage":{"input_tokens":1,"output_tokens":2}}`:                                "stop", // an empty answer
		`{"type":"result","is_error":true,"terminal_reason":"api_error","stop_reason":"refusal","result":"can't help"}`:  "content_filter",
		`{"type":"result","is_error":true,"terminal_reason":"api_error","stop_reason":"refusal","api_error_status":500}`: "provider_error 500",
	} {
		if got := claudeSays(t, line).ended(); got != want {
			t.Errorf("%s\nends with %s, want %s", line, got, want)
		}
	}
	if s := claudeSays(t, `{"type":"result","is_error":true,"errors":["a","b"]}`); s.End.Failure.Message != "a; b" {
		t.Errorf("message %q", s.End.Failure.Message)
	}
	if s := claudeSays(t, claudeStart("a"), claudeOK, claudeDelta("late"), claudeOK); s.Text != "" {
		t.Errorf("late text %q", s.Text)
	}
}

func TestClaude_Tools(t *testing.T) {
	s := claudeSays(t,
		`{"type":"assistant","message":{"id":"a","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"ls"}}]}}`,
		`{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":"Exit code 1","is_error":true}]}}`,
		`{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t9","content":[{"type":"text","text":"x"},{"type":"image"}]}]}}`,
		`{"type":"user","message":{"content":"a plain prompt"}}`,
		claudeOK)
	want := []backend.Tool{
		{ID: "t1", Name: "Bash", Status: "started", Input: `{"command":"ls"}`},
		{ID: "t1", Name: "Bash", Status: "failed", Output: "Exit code 1"},
		{ID: "t9", Name: "tool", Status: "completed", Output: "x"},
	}
	if diff := cmp.Diff(want, s.Tools); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestClaude_Usage(t *testing.T) {
	s := claudeSays(t, `{"type":"result","is_error":false,"total_cost_usd":0.25,"usage":{"input_tokens":10,"cache_read_input_tokens":20,"cache_creation_input_tokens":30,"output_tokens":5,"output_tokens_details":{"thinking_tokens":2}}}`)
	want := &backend.Usage{PromptTokens: number[int64](60), CompletionTokens: number[int64](5), CachedTokens: number(int64(20)), ReasoningTokens: number(int64(2)), CostUSD: number(0.25)}
	if diff := cmp.Diff(want, s.Usage); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Tool uses without a result must not pile up in the daemon's memory.
func TestClaude_ForgetsTools(t *testing.T) {
	m := &claude.Machine{}
	for i := range 10 * parse.ToolNamesMax {
		m.Line(fmt.Appendf(nil, `{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t%d","name":"Bash"}]}}`, i))
	}
	if len(m.Tools) > parse.ToolNamesMax {
		t.Errorf("%d names kept", len(m.Tools))
	}
}

// An option that an old claude doesn't know ends it: it is passed only where it
// is needed, and known to be there or not known to be missing.
func TestClaude_OptionsByVersion(t *testing.T) {
	const snapshot, prompts = "--system-prompt-snapshot=off", "--permission-prompts=none"
	for _, row := range []struct {
		version           string
		session           string
		snapshot, prompts bool
	}{
		{"", "", false, true}, {"", "s", true, true},
		{"2.1.252 (Claude Code)", "s", false, false}, {"2.1.257 (Claude Code)", "s", true, false}, {"2.1.259 (Claude Code)", "", false, true},
	} {
		argv := commandOf(t, backend.Config{Kind: "claude"}, backend.Request{Version: row.version, Session: row.session, System: "be brief", Permissions: "plan"}).Argv
		if slices.Contains(argv, snapshot) != row.snapshot || slices.Contains(argv, prompts) != row.prompts {
			t.Errorf("%q, session %q: %q", row.version, row.session, argv)
		}
	}
}
