package answer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

// wholeOf writes what events make, as Whole does.
func wholeOf(t *testing.T, record run.Record, events []backend.Event) string {
	t.Helper()
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	var out bytes.Buffer
	if err := writeWhole(&out, record, func() eventSource {
		held := heldEvents(events)
		return &held
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func writeWhole(w io.Writer, record run.Record, again func() eventSource) error {
	known := &answerSummary{}
	for events := again(); ; {
		e, err := events.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		known.add(e)
	}
	if known.takenBack {
		if err := known.judge(context.Background(), again()); err != nil {
			return err
		}
	}
	a := &dialect.Answer{Run: record.ID, Model: record.Model, Created: record.Created}
	var unread error
	return openai.Chat{}.Whole(a).Write(w, endOf(record, known.last, known.usage), known.contents, known.steps(context.Background(), again, &unread))
}

// The object, byte for byte.
func TestWhole_Golden(t *testing.T) {
	peak, cost, cached := uint64(7), 0.25, int64(2)
	record := run.Record{
		ID: "run_1", Model: `odd/"content":""`, Created: time.Unix(1700000000, 0), Finish: "length",
		Receipt: &outcome.Receipt{PidsPeak: &peak}, Metadata: json.RawMessage(`{"content":""}`),
	}
	const begin = `{"id":"chatcmpl-run_1","object":"chat.completion","created":1700000000,"model":"odd/\"content\":\"\"","choices":[{"index":0,"message":{"role":"assistant",`
	const receipt = `"x_receipt":{"pids_peak":7,"enforced_by":{"memory":"","pids":"","kill":""}},"metadata":{"content":""}}` + "\n"
	for _, row := range []struct {
		name   string
		events []backend.Event
		want   string
	}{
		{"nothing said", nil, `"content":""},"finish_reason":"length"}],`},
		{"all of it", []backend.Event{
			{Kind: backend.Session, Session: "s"},
			{Kind: backend.Reasoning, Text: "hm "},
			{Kind: backend.Text, Text: "a <b> & \"c\"\n\u2028"},
			{Kind: backend.ToolUse, Tool: &backend.Tool{ID: "t", Name: "Bash", Status: "started", Input: "<{}>"}},
			{Kind: backend.Text, Text: "wrong"},
			{Kind: backend.UsageReport, Usage: &backend.Usage{PromptTokens: number(1)}},
			{Kind: backend.Void, Keep: 15},
			{Kind: backend.Reasoning, Text: "<so>"},
			{Kind: backend.ToolUse, Tool: &backend.Tool{ID: "t", Name: "Bash", Status: "completed"}},
			{Kind: backend.Notice, Text: "retry"},
			{Kind: backend.Text, Text: "right"},
			{Kind: backend.UsageReport, Usage: &backend.Usage{PromptTokens: number(3), CompletionTokens: number(4), CachedTokens: &cached, CostUSD: &cost}},
			{Kind: backend.Done, Finish: "length"},
		}, `"content":"a <b> & \"c\"\n\u2028right","reasoning_content":"hm <so>",` +
			`"x_tool":[{"id":"t","name":"Bash","status":"started","input":"<{}>"},{"id":"t","name":"Bash","status":"completed"}]},"finish_reason":"length"}],` +
			`"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2}},"x_cost":{"usd":0.25,"provenance":"cli"},`},
		{"half of the usage is none", []backend.Event{
			{Kind: backend.Text, Text: "x"},
			{Kind: backend.UsageReport, Usage: &backend.Usage{CompletionTokens: number(4), CostUSD: &cost}},
		}, `"content":"x"},"finish_reason":"length"}],"x_cost":{"usd":0.25,"provenance":"cli"},`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(begin+row.want+receipt, wholeOf(t, record, row.events)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Whatever is said, cut and taken back, inside code points too: the same bytes
// as from an answer put together in memory.
func TestWhole_AsOnePiece(t *testing.T) {
	alphabet := []string{"a", "é", "€", "😀", "\"", "\\", "\n", "\x01", "\u2029", "<", "\xff", "\xf0\x9f", strings.Repeat("long ", 3000)}
	record := run.Record{ID: "run_1", Model: "m", Created: time.Unix(1, 0)}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		say := func() string {
			var b strings.Builder
			for range r.IntN(4) {
				b.WriteString(alphabet[r.IntN(len(alphabet))])
			}
			said := b.String()
			return said[r.IntN(len(said)+1):]
		}
		var events []backend.Event
		var text, thought []byte
		for range r.IntN(30) {
			switch r.IntN(6) {
			case 0:
				keep := r.IntN(len(text)+3) - 1
				text = text[:min(max(keep, 0), len(text))]
				events = append(events, backend.Event{Kind: backend.Void, Keep: keep})
			case 1:
				piece := say()
				thought = append(thought, piece...)
				events = append(events, backend.Event{Kind: backend.Reasoning, Text: piece})
			default:
				piece := say()
				text = append(text, piece...)
				events = append(events, backend.Event{Kind: backend.Text, Text: piece})
			}
		}
		reason := "stop"
		c := openai.Completion{ID: "chatcmpl-run_1", Object: "chat.completion", Created: 1, Model: "m"}
		c.Choices = []openai.Choice{{Message: &openai.AnswerMessage{Role: dialect.Assistant, Content: string(text), Reasoning: string(thought)}, Finish: &reason}}
		want, err := web.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := wholeOf(t, record, events); got != string(want)+"\n" {
			t.Fatalf("seed %d (-want +got)\n%s", seed, cmp.Diff(string(want)+"\n", got))
		}
	}
}

// scale takes any amount and notes what is alive now and then.
type scale struct {
	written, next int
	most          uint64
}

func (s *scale) Write(p []byte) (int, error) {
	if s.written += len(p); s.written >= s.next {
		s.next += 4 << 20
		s.most = max(s.most, alive())
	}
	return len(p), nil
}

type eventFunc func() (backend.Event, error)

func (f eventFunc) Next(context.Context) (backend.Event, error) { return f() }

func alive() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// An answer, its thinking and its tools may be as large as the output cap:
// they pass through and stay nowhere.
func TestWhole_Memory(t *testing.T) {
	const pieces, size = 1000, 8 << 10
	again := func() eventSource {
		i := 0
		return eventFunc(func() (backend.Event, error) {
			if i == 3*pieces {
				return backend.Event{}, io.EOF
			}
			text := strings.Repeat(string(rune('a'+i%26)), size) // a fresh copy, as from the spool
			i++
			return []backend.Event{
				{Kind: backend.Text, Text: text}, {Kind: backend.Reasoning, Text: text},
				{Kind: backend.ToolUse, Tool: &backend.Tool{Name: "Bash", Status: "completed", Output: text}},
			}[i%3], nil
		})
	}
	before := alive()
	var w scale
	if err := writeWhole(&w, run.Record{}, again); err != nil {
		t.Fatal(err)
	}
	if w.written < 3*pieces*size {
		t.Errorf("%d bytes written", w.written)
	}
	if held := int64(w.most) - int64(before); held > 2<<20 {
		t.Errorf("%d bytes held for an answer of %d", held, w.written)
	}
}

func TestKeptSpans_Bounded(t *testing.T) {
	var k keptSpans
	for i := range 2 * spansMax {
		k.text(2)
		k.void(i + 1)
	}
	if !k.over || len(k.spans) > spansMax {
		t.Errorf("over %v, %d spans", k.over, len(k.spans))
	}
	k = keptSpans{}
	for range 2 * spansMax {
		k.text(2)
	}
	if k.over || len(k.spans) != 1 {
		t.Errorf("nothing taken back: over %v, %d spans", k.over, len(k.spans))
	}
}
