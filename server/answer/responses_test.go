package answer

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

var update = flag.Bool("update", false, "write the golden files anew")

// responsesRun is a run to be told as a response.
type responsesRun struct {
	events  []backend.Event
	record  run.Record
	failure *web.Error // in place of its end
	queued  bool
	echo    string
}

func (r *responsesRun) answer(after int64) *dialect.Answer {
	return &dialect.Answer{
		Run: "run_1", Model: "claude/opus", Backend: "claude", Received: time.Unix(1700000000, 0), Created: time.Unix(1700000001, 0),
		Echo: json.RawMessage(r.echo), After: after,
	}
}

func (r *responsesRun) held() eventSource {
	held := heldEvents(r.events)
	return &held
}

func numbered(events ...backend.Event) []backend.Event {
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	return events
}

// stream is the run's stream for a reader that has seen the events up to after; rest is as of wire.
func (r *responsesRun) stream(t interface{ Fatal(...any) }, resumable bool, after int64, rest func(int) bool) string {
	rec := httptest.NewRecorder()
	s := NewStream(web.NewReply(rec), openai.Responses{}, r.answer(after), resumable)
	s.text.discards = true
	s.ping = time.NewTicker(time.Hour)
	defer s.ping.Stop()
	s.again = func() dialect.Reading {
		return &sentReading{ctx: context.Background(), events: r.held(), again: r.held, last: &s.last, sent: sentText{discards: s.text.discards}}
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if r.queued {
		check(s.queued(1))
	} else {
		check(s.Open("accepted"))
	}
	if r.failure != nil && r.events == nil {
		check(s.Fail(&web.RequestInfo{}, r.failure))
		return rec.Body.String()
	}
	check(s.Comment("run run_1"))
	check(s.to.Begin())
	for i, e := range r.events {
		if rest(i) {
			check(s.pause(nil))
			check(s.sendPing())
		}
		if e.Kind == backend.Void && s.text.discards {
			var err error
			s.text, err = sentBefore(context.Background(), r.held(), e.Seq)
			check(err)
		}
		if ok, err := s.event(e); err != nil {
			t.Fatal(i, err)
		} else if !ok {
			check(s.send())
			check(s.fail(&web.RequestInfo{}, textVoided(r.record), r.record))
			return rec.Body.String()
		}
	}
	if r.failure != nil {
		check(s.fail(&web.RequestInfo{}, r.failure, r.record))
	} else {
		check(s.end(&web.RequestInfo{}, outcome.Verdict{Cause: outcome.Completed}, r.record))
	}
	return rec.Body.String()
}

// whole is the run's answer as one object.
func (r *responsesRun) whole(t interface{ Fatal(...any) }) string {
	known := &answerSummary{}
	for _, e := range r.events {
		known.add(e)
	}
	var unread error
	if known.takenBack {
		if err := known.judge(context.Background(), answerEvents{r.held(), &unread}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	steps := known.steps(context.Background(), r.held, &unread)
	if err := (openai.Responses{}).Whole(r.answer(-1)).Write(&out, endOf(r.record, known.last, known.usage), known.contents, steps); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func text(s string) backend.Event    { return backend.Event{Kind: backend.Text, Text: s} }
func thought(s string) backend.Event { return backend.Event{Kind: backend.Reasoning, Text: s} }
func tool(id, status, input, output string) backend.Event {
	return backend.Event{Kind: backend.ToolUse, Tool: &backend.Tool{ID: id, Name: "Bash", Status: status, Input: input, Output: output}}
}

// goldenRuns are what the demo backend does, and what else there is.
func goldenRuns() map[string]*responsesRun {
	cached, cost, peak := int64(2), 0.25, uint64(7)
	usage := backend.Event{Kind: backend.UsageReport, Usage: &backend.Usage{PromptTokens: number(3), CompletionTokens: number(4), CachedTokens: &cached, CostUSD: &cost}}
	done := func(finish string) backend.Event { return backend.Event{Kind: backend.Done, Finish: finish} }
	record := run.Record{ID: "run_1", Finish: "stop", Receipt: &outcome.Receipt{PidsPeak: &peak}, Session: "s", Metadata: json.RawMessage(`{"k":"\"output\":["}`)}
	cut, refused, killed := record, record, record
	cut.Finish, refused.Finish, killed.Finish = "length", "content_filter", ""
	memory := runFailed(outcome.Verdict{Cause: outcome.MemoryLimit, Message: "over 64 MiB"}, killed)
	session := backend.Event{Kind: backend.Session, Session: "s"}
	return map[string]*responsesRun{
		"text":          {events: numbered(session, text("a <b> & \"c\"\n\u2028"), text("d"), usage, done("stop")), record: record},
		"nothing":       {events: numbered(done("stop")), record: run.Record{ID: "run_1"}},
		"think":         {events: numbered(thought("hm "), thought("so"), text("yes"), done("stop")), record: record},
		"tool":          {events: numbered(tool("t1", "started", `{"c":"ls"}`, ""), tool("t1", "completed", "", "a\nb"), done("stop")), record: record},
		"tool-failed":   {events: numbered(tool("t1", "started", `not JSON`, ""), tool("t1", "failed", "", "no such file"), tool("t1", "failed", "", "no such file"), text("sorry"), done("stop")), record: record},
		"tool-text":     {events: numbered(text("look:"), tool("t1", "started", "", ""), tool("t2", "completed", `{}`, "2"), text("wait"), tool("t1", "started", `{"c":1}`, ""), tool("t1", "completed", "", "1"), text("done"), done("stop")), record: record},
		"tool-unended":  {events: numbered(tool("t1", "started", `{}`, ""), tool("", "started", "", ""), text("bye"), done("stop")), record: record},
		"void-replaced": {events: numbered(text("abc"), tool("t1", "completed", "{}", "x"), backend.Event{Kind: backend.Void}, text("ab"), text("cdef"), done("stop")), record: record},
		"void-another":  {events: numbered(text("abc"), backend.Event{Kind: backend.Void, Keep: 1}, text("xy"), done("stop")), record: record},
		"cut":           {events: numbered(text("a long st"), usage, done("length")), record: cut},
		"refused":       {events: numbered(text("I can't"), done("content_filter")), record: refused},
		"failed-before": {events: numbered(session), failure: memory, record: killed},
		"failed-after":  {events: numbered(text("half"), tool("t1", "started", `{}`, "")), failure: memory, record: killed},
		"cancelled":     {events: numbered(text("half")), failure: runFailed(outcome.Verdict{Cause: outcome.Cancelled, Message: "cancelled by its client"}, killed), record: killed},
		"queued":        {events: numbered(text("at last"), done("stop")), record: record, queued: true},
		"queue-timeout": {failure: web.OverCapacity(web.Code(outcome.QueueTimeout), "waited too long", time.Second), queued: true},
		"echo": {events: numbered(text("hi"), done("stop")), record: record,
			echo: `{"background":true,"instructions":"be \"output\":[ brief","metadata":{"a":"b"},"parallel_tool_calls":false,"previous_response_id":"resp_run_0","reasoning":{"effort":"low","summary":"auto"},"store":true,"text":{"format":{"type":"json_object"}},"tool_choice":"none","truncation":"disabled","user":"u"}`},
	}
}

func TestResponses_Golden(t *testing.T) {
	for name, r := range goldenRuns() {
		t.Run(name, func(t *testing.T) {
			got := r.stream(t, false, -1, func(int) bool { return false })
			golden(t, name+".sse", got)
			if again := r.stream(t, false, -1, func(int) bool { return false }); again != got {
				t.Errorf("a replay is another:\n%s", again)
			}
			check := newResponseCheck()
			for _, e := range namedEvents(got) {
				if err := check.add(e); err != nil {
					t.Errorf("%v: %s", err, e.data)
				}
			}
			if !check.over {
				t.Error("the stream has no end")
			}
			r.resumed(t, got)
			if r.failure != nil || name == "void-another" {
				return
			}
			whole := r.whole(t)
			golden(t, name+".json", whole)
			if diff := cmp.Diff(string(check.final), strings.TrimSpace(whole)); diff != "" {
				t.Errorf("the stream's response (-) is not the whole one (+)\n%s", diff)
			}
		})
	}
}

// resumed holds what a reader has that comes back after each of the events of a stream.
func (r *responsesRun) resumed(t *testing.T, stream string) {
	t.Helper()
	all := namedEvents(stream)
	for n := range all {
		for _, rest := range []bool{false, true} {
			check := newResponseCheck()
			for _, e := range all[:n+1] {
				if err := check.add(e); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range namedEvents(r.stream(t, rest, check.number, func(int) bool { return rest })) {
				if err := check.add(e); err != nil {
					t.Errorf("after event %d, rest %v: %v: %s", n, rest, err, e.data)
				}
			}
			if !check.over {
				t.Errorf("after event %d, rest %v: no end", n, rest)
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "responses", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); rewrite it with: go test ./server/answer -run Golden -update\n%s", name, diff)
	}
}

type namedEvent struct{ name, id, data string }

// namedEvents decodes a stream that may be cut off; what has no blank line behind it is none.
func namedEvents(stream string) (out []namedEvent) {
	var e namedEvent
	for line := range strings.Lines(stream) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole {
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e.data != "":
			out, e = append(out, e), namedEvent{}
		case name == "event":
			e.name = value
		case name == "data":
			e.data = value
		case name == "id":
			e.id = value
		}
	}
	return out
}

// responseCheck holds a stream to what the SDKs' accumulators want of it.
type responseCheck struct {
	number int64
	begun  bool
	over   bool
	failed bool
	items  []checkedItem
	types  map[string]int
	final  json.RawMessage // the response of the last event that has one
}

type checkedItem struct {
	kind, id, text string
	parts          int
	textDone       bool
	partDone       bool
	done           json.RawMessage
}

func newResponseCheck() *responseCheck {
	return &responseCheck{number: -1, types: map[string]int{}}
}

type checkedEvent struct {
	Type     string          `json:"type"`
	Number   *int64          `json:"sequence_number"`
	Response json.RawMessage `json:"response"`
	Index    int             `json:"output_index"`
	ItemID   string          `json:"item_id"`
	Item     json.RawMessage `json:"item"`
	Part     json.RawMessage `json:"part"`
	Delta    string          `json:"delta"`
	Text     string          `json:"text"`
	Args     string          `json:"arguments"`
	Error    json.RawMessage `json:"error"`
}

type checkedOutput struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	Arguments string `json:"arguments"`
	Content   []struct{ Text string }
	Summary   []struct{ Text string }
}

func (c *responseCheck) add(raw namedEvent) error {
	var e checkedEvent
	if err := json.Unmarshal([]byte(raw.data), &e); err != nil {
		return err
	}
	c.types[e.Type]++
	switch {
	case e.Number == nil || *e.Number <= c.number:
		return fmt.Errorf("no number that is over %d", c.number)
	case raw.name != e.Type:
		return fmt.Errorf("named %q", raw.name)
	case raw.id != "" && raw.id != strconv.FormatInt(*e.Number, 10):
		return fmt.Errorf("id %s", raw.id)
	case c.over:
		return fmt.Errorf("after the end")
	case !c.begun && e.Type != "response.created":
		return fmt.Errorf("response.created is not the first")
	case c.failed && e.Type != "error":
		return fmt.Errorf("after response.failed")
	}
	c.number, c.begun = *e.Number, true
	if e.Response != nil {
		c.final = e.Response
	}
	switch e.Type {
	case "response.created", "response.queued", "response.in_progress":
		return nil
	case "response.completed", "response.incomplete":
		c.over = true
		return c.output(e.Response)
	case "response.failed":
		c.failed = true
		return nil
	case "error":
		c.over = true
		if !c.failed || e.Error == nil {
			return fmt.Errorf("an error without response.failed or object")
		}
		return nil
	case "response.output_item.added":
		var item checkedOutput
		if err := json.Unmarshal(e.Item, &item); err != nil {
			return err
		}
		if e.Index != len(c.items) || len(item.Content)+len(item.Summary) > 0 || item.Arguments != "" || item.Status != "in_progress" {
			return fmt.Errorf("item %d of %d", e.Index, len(c.items))
		}
		c.items = append(c.items, checkedItem{kind: item.Type, id: item.ID})
		return nil
	}
	if e.Index >= len(c.items) {
		return fmt.Errorf("item %d of %d", e.Index, len(c.items))
	}
	return c.items[e.Index].add(e)
}

func (i *checkedItem) add(e checkedEvent) error {
	if i.done != nil || e.Type != "response.output_item.done" && e.ItemID != i.id {
		return fmt.Errorf("item %q, over %v", i.id, i.done != nil)
	}
	isText := i.kind != "mcp_call"
	said := e.Text
	switch e.Type {
	case "response.content_part.added", "response.reasoning_summary_part.added":
		i.parts++
		return refuse(!isText || i.parts != 1)
	case "response.output_text.delta", "response.reasoning_summary_text.delta":
		i.text += e.Delta
		return refuse(i.parts != 1 || i.textDone || e.Delta == "")
	case "response.output_text.done", "response.reasoning_summary_text.done":
		i.textDone = true
	case "response.content_part.done", "response.reasoning_summary_part.done":
		var part struct{ Text string }
		if err := json.Unmarshal(e.Part, &part); err != nil {
			return err
		}
		i.partDone, said = true, part.Text
		if !i.textDone {
			return refuse(true)
		}
	case "response.mcp_call.in_progress", "response.mcp_call.completed", "response.mcp_call.failed":
		return refuse(isText)
	case "response.mcp_call_arguments.delta":
		i.text += e.Delta
		return refuse(isText)
	case "response.mcp_call_arguments.done":
		i.textDone, i.partDone, said = true, true, e.Args
	case "response.output_item.done":
		var item checkedOutput
		if err := json.Unmarshal(e.Item, &item); err != nil {
			return err
		}
		i.done, said = e.Item, item.Arguments
		for _, part := range slices.Concat(item.Content, item.Summary) {
			said += part.Text
		}
		if !i.textDone || !i.partDone || item.ID != i.id || item.Status == "in_progress" {
			return fmt.Errorf("done before its parts, as %+v", item)
		}
	default:
		return fmt.Errorf("an event that clients don't know")
	}
	if said != i.text {
		return fmt.Errorf("the text is %q in the end, told as %q", said, i.text)
	}
	return nil
}

func refuse(wrong bool) error {
	if wrong {
		return fmt.Errorf("out of order")
	}
	return nil
}

func (c *responseCheck) output(response json.RawMessage) error {
	var r struct{ Output []json.RawMessage }
	if err := json.Unmarshal(response, &r); err != nil {
		return err
	}
	if len(r.Output) != len(c.items) {
		return fmt.Errorf("%d items in the end, told %d", len(r.Output), len(c.items))
	}
	for i, item := range r.Output {
		if !bytes.Equal(item, c.items[i].done) {
			return fmt.Errorf("item %d is %s in the end, told as %s", i, item, c.items[i].done)
		}
	}
	return nil
}

// A reader that comes back after any number, wherever it was cut and however the events came,
// has each event once; and the whole answer has the same items.
func TestResponses_ResumeAtAnyCut(t *testing.T) {
	alphabet := []string{"a", "é", "😀", "\"", "\n", "\x00", "\u0085", "\u2028", strings.Repeat("x", 1000), strings.Repeat("€\x01", 12000), strings.Repeat("word ", 20000)}
	rapid.Check(t, func(t *rapid.T) {
		r := drawRun(t, alphabet)
		check, after := newResponseCheck(), int64(-1)
		for cuts := rapid.IntRange(0, 6).Draw(t, "cuts"); ; cuts-- {
			r.queued = rapid.Bool().Draw(t, "queued")
			stream := r.stream(t, rapid.Bool().Draw(t, "resumable"), after, func(int) bool { return rapid.Bool().Draw(t, "rest") })
			switch {
			case cuts <= 0:
			case rapid.Bool().Draw(t, "inside"):
				stream = stream[:rapid.IntRange(0, len(stream)).Draw(t, "cut")]
			default:
				events := strings.SplitAfter(stream, "\n\n")
				stream = strings.Join(events[:rapid.IntRange(0, len(events)).Draw(t, "cut")], "")
			}
			for _, e := range namedEvents(stream) {
				if err := check.add(e); err != nil {
					t.Fatalf("%v: %s", err, web.Clip(e.data, 2000))
				}
			}
			if after = check.number; cuts <= 0 || check.over {
				break
			}
		}
		if !check.over {
			t.Fatal("no end")
		}
		whole := strings.ReplaceAll(strings.TrimSpace(r.whole(t)), "\u0085", `\u0085`) // which no event has
		if string(check.final) != whole {
			t.Fatalf("the stream's response is not the whole one:\n%s\n%s", check.final, whole)
		}
	})
}

// drawRun draws a run that says again what it takes back.
func drawRun(t *rapid.T, alphabet []string) *responsesRun {
	kinds := rapid.SampledFrom([]backend.Kind{backend.Text, backend.Text, backend.Text, backend.Reasoning, backend.ToolUse, backend.ToolUse, backend.Notice, backend.Session, backend.Void})
	var events []backend.Event
	whole, told := "", 0 // the text, and how much of it
	for range rapid.IntRange(0, 25).Draw(t, "events") {
		e := backend.Event{Kind: kinds.Draw(t, "kind")}
		switch e.Kind {
		case backend.Text:
			if told == len(whole) {
				whole += strings.Join(rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 6).Draw(t, "text"), "")
			}
			e.Text, told = whole[told:], len(whole)
		case backend.Void:
			told = rapid.IntRange(0, told).Draw(t, "keep")
			for told > 0 && told < len(whole) && whole[told]&0xc0 == 0x80 {
				told-- // not inside of a code point
			}
			e.Keep = told
		case backend.Reasoning, backend.Notice:
			e.Text = strings.Join(rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 3).Draw(t, "text"), "")
		case backend.ToolUse:
			e.Tool = &backend.Tool{
				ID: rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, "id"), Name: rapid.SampledFrom([]string{"f", "g"}).Draw(t, "name"),
				Status: rapid.SampledFrom([]string{"started", "started", "completed", "failed"}).Draw(t, "status"),
				Input:  rapid.SampledFrom([]string{"", "{}", `{"a":1}`, "x"}).Draw(t, "input"), Output: rapid.SampledFrom([]string{"", "y", strings.Repeat("z", 9000)}).Draw(t, "output"),
			}
		}
		events = append(events, e)
	}
	events = append(events, text(whole[told:]), backend.Event{Kind: backend.Done})
	return &responsesRun{events: numbered(events...), record: run.Record{ID: "run_1", Finish: rapid.SampledFrom([]string{"stop", "length"}).Draw(t, "finish")}}
}
