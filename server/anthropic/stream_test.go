package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/backend"
	"penstock/outcome"
	"penstock/server/dialect"
	"penstock/server/web"
)

func answerOf(after int64) *dialect.Answer {
	return &dialect.Answer{Run: "run_1", Model: "pi/m", Backend: "pi", Created: time.Unix(1, 0), After: after}
}

// said is the stream of steps for a reader that has seen the frames up to after.
func said(t interface{ Fatal(...any) }, after int64, resumable bool, steps []dialect.Step, end func(dialect.Stream) error) string {
	rec := httptest.NewRecorder()
	out := web.NewSSE(web.NewReply(rec), resumable)
	s := Messages{}.Stream(&out, answerOf(after), nil)
	for _, err := range []error{s.Open(false), s.Begin()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range steps {
		if err := s.Step(step); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(s); err != nil {
		t.Fatal(err)
	}
	return rec.Body.String()
}

func text(seq uint64, s string) dialect.Step {
	return dialect.Step{Place: dialect.Place{Seq: seq, Last: true}, Kind: backend.Text, Text: s}
}

func thought(seq uint64, s string) dialect.Step {
	return dialect.Step{Place: dialect.Place{Seq: seq, Last: true}, Kind: backend.Reasoning, Text: s}
}

func tool(seq uint64, t backend.Tool) dialect.Step {
	return dialect.Step{Place: dialect.Place{Seq: seq, Last: true}, Kind: backend.ToolUse, Tool: &t}
}

func number(n int64) *int64 { return &n }

// The wire, byte for byte.
func TestStream_Golden(t *testing.T) {
	steps := []dialect.Step{
		thought(2, "hm"), text(3, "a <b>\n"), text(4, "c"),
		tool(5, backend.Tool{ID: "t:1", Name: "Bash", Status: "started", Input: `{ "command": "ls" }`}),
		tool(6, backend.Tool{ID: "t:1", Name: "Bash", Status: "started", Input: `{ "command": "ls" }`}),
		tool(7, backend.Tool{ID: "t:1", Name: "Bash", Status: "failed", Output: "no"}),
		tool(8, backend.Tool{ID: "t:2", Name: "Read", Status: "completed", Input: "a path", Output: "x"}),
		text(9, "done"),
	}
	cached := int64(2)
	got := said(t, -1, true, steps, func(s dialect.Stream) error {
		if err := s.Ping(); err != nil {
			return err
		}
		return s.End(dialect.End{Seq: 11, Finish: "length", Usage: &backend.Usage{PromptTokens: number(5), CachedTokens: &cached, CompletionTokens: number(7)}})
	})
	type frame struct {
		event, data string
		id          int
	}
	var want strings.Builder
	for _, f := range []frame{
		{"message_start", `{"type":"message_start","message":{"id":"msg_run_1","type":"message","role":"assistant","model":"pi/m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0},"x_usage":{"unknown":["input_tokens","output_tokens"]}}}`, 0},
		{"content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`, -1},
		{"content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`, 2},
		{"content_block_stop", `{"type":"content_block_stop","index":0}`, -1},
		{"content_block_start", `{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`, -1},
		{"content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a <b>\n"}}`, 3},
		{"content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"c"}}`, 4},
		{"content_block_stop", `{"type":"content_block_stop","index":1}`, -1},
		{"content_block_start", `{"type":"content_block_start","index":2,"content_block":{"type":"mcp_tool_use","id":"mcptoolu2_run_1","name":"Bash","server_name":"pi","input":{"command":"ls"}}}`, -1},
		{"content_block_stop", `{"type":"content_block_stop","index":2}`, 5},
		{"content_block_start", `{"type":"content_block_start","index":3,"content_block":{"type":"mcp_tool_result","tool_use_id":"mcptoolu2_run_1","is_error":true,"content":[{"type":"text","text":"no"}]}}`, -1},
		{"content_block_stop", `{"type":"content_block_stop","index":3}`, 7},
		{"content_block_start", `{"type":"content_block_start","index":4,"content_block":{"type":"mcp_tool_use","id":"mcptoolu4_run_1","name":"Read","server_name":"pi","input":{"input":"a path"}}}`, -1},
		{"content_block_stop", `{"type":"content_block_stop","index":4}`, -1},
		{"content_block_start", `{"type":"content_block_start","index":5,"content_block":{"type":"mcp_tool_result","tool_use_id":"mcptoolu4_run_1","is_error":false,"content":[{"type":"text","text":"x"}]}}`, -1},
		{"content_block_stop", `{"type":"content_block_stop","index":5}`, 8},
		{"content_block_start", `{"type":"content_block_start","index":6,"content_block":{"type":"text","text":""}}`, -1},
		{"content_block_delta", `{"type":"content_block_delta","index":6,"delta":{"type":"text_delta","text":"done"}}`, 9},
		{"ping", `{"type":"ping"}`, -1},
		{"content_block_stop", `{"type":"content_block_stop","index":6}`, -1},
		{"message_delta", `{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"input_tokens":3,"cache_read_input_tokens":2,"output_tokens":7}}`, -1},
		{"message_stop", `{"type":"message_stop"}`, 12},
	} {
		fmt.Fprintf(&want, "event: %s\ndata: %s\n", f.event, f.data)
		if f.id >= 0 {
			fmt.Fprintf(&want, "id: %d\n", f.id)
		}
		want.WriteString("\n")
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A failure ends the stream with an error that no client asks again for, and our cause beside. A
// block is whole before it, or Claude Code would ask again: an empty one where there was none.
func TestStream_Fails(t *testing.T) {
	peak := uint64(7)
	why := web.RunError("memory_limit", "too much", "run_1", &outcome.Receipt{PidsPeak: &peak})
	const stop = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
	want := "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"too much\",\"run_id\":\"run_1\",\"x_cause\":\"memory_limit\",\"x_receipt\":{\"pids_peak\":7,"
	for _, steps := range [][]dialect.Step{nil, {text(1, "a")}} {
		got := said(t, -1, false, steps, func(s dialect.Stream) error { return s.Fail(why, dialect.End{Seq: 1}) })
		if !strings.Contains(got, stop+want) || strings.Count(got, "content_block_start") != 2 || strings.Contains(got, "message_stop") {
			t.Errorf("%s", got)
		}
	}
}

// A refusal ends the stream of a client that would ask again at Anthropic's word for it with an error
// that it doesn't repeat, behind a block that is whole.
func TestStream_RefusedToAnAgent(t *testing.T) {
	a := answerOf(-1)
	a.Insistent = true
	rec := httptest.NewRecorder()
	out := web.NewSSE(web.NewReply(rec), false)
	s := Messages{}.Stream(&out, a, nil)
	for _, err := range []error{s.Open(false), s.Begin(), s.End(dialect.End{Seq: 1, Finish: "content_filter"})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := rec.Body.String()
	if !strings.Contains(got, "event: content_block_stop\n") || !strings.Contains(got, `"type":"invalid_request_error"`) || !strings.Contains(got, `"x_cause":"content_filter"`) ||
		strings.Contains(got, "message_stop") || strings.Contains(got, "api_error") {
		t.Errorf("%s", got)
	}
}

// stepsOf are steps of any kind, as a driver gives them.
func stepsOf(t *rapid.T) (steps []dialect.Step) {
	for i := range rapid.IntRange(0, 20).Draw(t, "steps") {
		seq := uint64(2*i + 1)
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			steps = append(steps, thought(seq, rapid.StringN(1, 5, -1).Draw(t, "thought")))
		case 1:
			id := strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "id"))
			status := rapid.SampledFrom([]string{"started", "completed", "failed"}).Draw(t, "status")
			steps = append(steps, tool(seq, backend.Tool{ID: id, Name: "f", Status: status, Input: `{"a":1}`, Output: "o"}))
		default:
			steps = append(steps, text(seq, rapid.StringN(1, 5, -1).Draw(t, "text")))
		}
	}
	return steps
}

// A reader that comes again after any number is told exactly the frames behind it, and the
// content of a stream is that of a whole answer.
func TestStream_Resumes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := stepsOf(t)
		last := uint64(1)
		if len(steps) > 0 {
			last = steps[len(steps)-1].Seq
		}
		end := dialect.End{Seq: last, Finish: "stop"}
		ended := func(s dialect.Stream) error { return s.End(end) }
		all := said(t, -1, true, steps, ended)
		for _, cut := range strings.SplitAfter(all, "\n\n") {
			_, id, found := strings.Cut(cut, "\nid: ")
			if !found {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(all, cut)
			if got := said(t, n, true, steps, ended); got != rest {
				t.Fatalf("after %d:\n%s\nwant\n%s", n, got, rest)
			}
		}
		var whole bytes.Buffer
		again := func() dialect.Reading { return &reading{steps} }
		if err := (Messages{}).Whole(answerOf(-1)).Write(&whole, end, dialect.Contents{}, again); err != nil {
			t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal(whole.Bytes(), &m); err != nil {
			t.Fatalf("%v: %s", err, whole.String())
		}
		if diff := cmp.Diff(gathered(t, all), m.Content); diff != "" {
			t.Fatalf("(-stream +whole)\n%s", diff)
		}
	})
}

// reading gives steps that are there.
type reading struct{ steps []dialect.Step }

func (r *reading) Next() (s dialect.Step, ok bool, err error) {
	if len(r.steps) == 0 {
		return s, false, nil
	}
	s, r.steps = r.steps[0], r.steps[1:]
	return s, true, nil
}

// gathered is the content that a client makes of a stream.
func gathered(t *rapid.T, stream string) []block {
	out := []block{}
	for frame := range strings.SplitSeq(stream, "\n\n") {
		_, data, _ := strings.Cut(frame, "data: ")
		data, _, _ = strings.Cut(data, "\n")
		var e struct {
			Type  string
			Index int
			Block *block `json:"content_block"`
			Delta struct{ Text, Thinking string }
		}
		if data == "" {
			continue
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case "content_block_start":
			if e.Index != len(out) {
				t.Fatalf("block %d after %d", e.Index, len(out))
			}
			out = append(out, *e.Block)
		case "content_block_delta":
			b := &out[e.Index]
			if b.Text != nil {
				*b.Text += e.Delta.Text
			} else {
				*b.Thinking += e.Delta.Thinking
			}
		}
	}
	return out
}
