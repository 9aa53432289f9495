package answer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

// event is what a decoder makes of a stream.
type event struct {
	id, data string
}

// lastingIDs decodes as openai-python and httpx-sse do, by their published
// behaviour: a blank line dispatches whenever there are data or an id that any
// earlier event had, and what it dispatches has to be JSON.
func lastingIDs(stream string) (out []event, err error) {
	var id string
	var data []string
	for line := range strings.Lines(stream) {
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && (len(data) > 0 || id != ""):
			e := event{id, strings.Join(data, "\n")}
			if !strings.HasPrefix(e.data, "[DONE]") && !json.Valid([]byte(e.data)) {
				return out, fmt.Errorf("event %d is no JSON: %q", len(out), e.data)
			}
			out, data = append(out, e), nil
		case name == "data":
			data = append(data, value)
		case name == "id":
			id = value
		}
	}
	return out, nil
}

// byTheBook decodes as WHATWG HTML 9.2 says and eventsource-parser does: a blank
// line without data dispatches nothing. An event has the id that was set within it.
func byTheBook(stream string) (out []event, err error) {
	var e event
	for line := range strings.Lines(stream) {
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && e.data != "":
			e.data = strings.TrimSuffix(e.data, "\n")
			out, e = append(out, e), event{}
		case name == "data":
			e.data += value + "\n"
		case name == "id":
			e.id = value
		}
	}
	return out, nil
}

// byBlocks splits at blank lines and wants a block to begin with its data.
func byBlocks(stream string) (out []event, err error) {
	for block := range strings.SplitSeq(stream, "\n\n") {
		if data, ok := strings.CutPrefix(block, "data: "); ok {
			data, _, _ = strings.Cut(data, "\n")
			out = append(out, event{data: data})
		}
	}
	return out, nil
}

// byLines takes each line that begins with data, and none of 32 KiB or more.
func byLines(stream string) (out []event, err error) {
	for line := range strings.Lines(stream) {
		if len(line) >= 32<<10 {
			return out, fmt.Errorf("a line of %d bytes", len(line))
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			out = append(out, event{data: strings.TrimSuffix(data, "\n")})
		}
	}
	return out, nil
}

// byUnicodeLines cuts, as httpx's iter_lines and Python's splitlines do, at whatever
// Unicode takes for a line break, and wants JSON in each line that begins with data.
func byUnicodeLines(stream string) (out []event, err error) {
	for line := range strings.FieldsFuncSeq(stream, func(r rune) bool { return strings.ContainsRune("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029", r) }) {
		data, ok := strings.CutPrefix(line, "data: ")
		switch {
		case !ok && !strings.HasPrefix(line, ":") && !strings.HasPrefix(line, "id: "):
			return out, fmt.Errorf("a line that is none: %q", web.Clip(line, 60))
		case ok:
			out = append(out, event{data: data})
		}
	}
	return out, nil
}

// streamSum is the sum of a stream's events.
type streamSum struct {
	text, thought, tools string
	finishes, accounts   int
	done                 bool
}

func (s *streamSum) add(e event) error {
	if s.done {
		return errors.New("an event after [DONE]")
	}
	if e.data == "[DONE]" {
		s.done = true
		return nil
	}
	var c openai.Completion
	if err := json.Unmarshal([]byte(e.data), &c); err != nil {
		return err
	}
	if len(c.Choices) == 0 {
		s.accounts++
	}
	for _, choice := range c.Choices {
		if choice.Finish != nil {
			s.finishes++
		}
		if d := choice.Delta; d != nil {
			s.thought += d.Reasoning
			if d.Content != nil {
				s.text += *d.Content
			}
			if d.Tool != nil {
				s.tools += d.Tool.ID + ";"
			}
		}
	}
	return nil
}

// wire is the stream of events for a reader that has seen those up to after. rest
// tells before which of them the reader waits, and a keep-alive comes.
func wire(t interface{ Fatal(...any) }, events []backend.Event, resumable bool, after int64, rest func(int) bool) string {
	rec := httptest.NewRecorder()
	s := NewStream(web.NewReply(rec), openai.Chat{}, &dialect.Answer{Run: "run_1", Model: "m", Created: time.Unix(1, 0), After: after, IncludeUsage: true}, resumable)
	s.text.discards = true
	s.ping = time.NewTicker(time.Hour)
	defer s.ping.Stop()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(s.queued(1))
	check(s.Comment("run run_1"))
	check(s.to.Begin())
	for i, e := range events {
		if rest(i) {
			check(s.pause(nil))
			check(s.Comment("ping"))
		}
		if ok, err := s.event(e); !ok || err != nil {
			t.Fatal(i, ok, err)
		}
	}
	check(s.end(&web.RequestInfo{}, outcome.Verdict{Cause: outcome.Completed}, run.Record{}))
	return rec.Body.String()
}

// Every decoder that stock clients have sees all of the answer and no error.
func TestDeltas_StockDecoders(t *testing.T) {
	long := strings.Repeat("wörd \"\\ \x01\u0085\u2028😀", 20000)
	events := []backend.Event{
		{Kind: backend.Text, Text: "one "}, {Kind: backend.Text, Text: "two "}, {Kind: backend.Notice, Text: "retry\u0085data: {\u2028\f\x1c"},
		{Kind: backend.Reasoning, Text: "hm"}, {Kind: backend.Reasoning, Text: long},
		{Kind: backend.ToolUse, Tool: &backend.Tool{ID: "t", Name: long, Status: "started", Input: strings.Repeat("\x01", 16<<10), Output: strings.Repeat("\"", 16<<10)}},
		{Kind: backend.Text, Text: long}, {Kind: backend.Text, Text: "end"}, {Kind: backend.Done},
	}
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	for name, row := range map[string]struct {
		decode func(string) ([]event, error)
		owned  bool // for streams without ids only
	}{
		"ids last":           {lastingIDs, false},
		"eventsource-parser": {byTheBook, false},
		"lines":              {byLines, false},
		"httpx's lines":      {byUnicodeLines, false},
		"blocks":             {byBlocks, true},
	} {
		for _, resumable := range []bool{false, true} {
			if row.owned && resumable {
				continue
			}
			for pauses := range 3 {
				decoded, err := row.decode(wire(t, events, resumable, web.NoID, func(i int) bool { return pauses > 0 && i%pauses == 0 }))
				if err != nil {
					t.Errorf("%s, resumable %v: %v", name, resumable, err)
				}
				var sum streamSum
				for _, e := range decoded {
					if err := sum.add(e); err != nil {
						t.Errorf("%s, resumable %v: %v", name, resumable, err)
					}
				}
				if sum.text != "one two "+long+"end" || sum.thought != "hm"+long || sum.tools != "t;" || sum.finishes != 1 || sum.accounts != 1 || !sum.done {
					t.Errorf("%s, resumable %v: text of %d bytes, thought %d, tools %q, %d finishes, %d accounts, done %v",
						name, resumable, len(sum.text), len(sum.thought), sum.tools, sum.finishes, sum.accounts, sum.done)
				}
			}
		}
	}
}

// Deltas that come together share a chunk: 400 kB of short words are not 82 MB.
func TestDeltas_NeighboursShareOne(t *testing.T) {
	var events []backend.Event
	for i := range 100_000 {
		events = append(events, backend.Event{Seq: uint64(i + 1), Kind: backend.Text, Text: "abc "})
	}
	if n := len(wire(t, events, false, web.NoID, func(i int) bool { return i%1000 == 0 })); n > 500_000 {
		t.Errorf("%d bytes for 400 kB", n)
	}
}

// A reader that comes back after the last number it has seen, wherever it was cut
// and however the events came, has every word once.
func TestDeltas_ResumeAtAnyCut(t *testing.T) {
	alphabet := []string{"a", "é", "😀", "\"", "\n", "\x00", "\u0085", "\u2028", strings.Repeat("x", 1000), strings.Repeat("€\x01", 12000)}
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SampledFrom([]backend.Kind{backend.Text, backend.Text, backend.Text, backend.Reasoning, backend.ToolUse, backend.Notice, backend.Session})
		var events []backend.Event
		var want streamSum
		for i := range rapid.IntRange(0, 25).Draw(t, "events") {
			e := backend.Event{Seq: uint64(i + 1), Kind: kinds.Draw(t, "kind")}
			said := strings.Join(rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 6).Draw(t, "text"), "")
			switch e.Kind {
			case backend.Text:
				e.Text = said
				want.text += said
			case backend.Reasoning:
				e.Text = said
				want.thought += said
			case backend.ToolUse:
				e.Tool = &backend.Tool{ID: strconv.Itoa(i)}
				want.tools += strconv.Itoa(i) + ";"
			}
			events = append(events, e)
		}
		want.finishes, want.accounts, want.done = 1, 1, true
		after := int64(web.NoID)
		var kept streamSum // up to the last number
		for cuts := rapid.IntRange(0, 6).Draw(t, "cuts"); ; cuts-- {
			rest := func(int) bool { return rapid.Bool().Draw(t, "rest") }
			stream := wire(t, events, true, after, rest)
			if cuts > 0 {
				stream = stream[:rapid.IntRange(0, len(stream)).Draw(t, "cut")]
			}
			decoded, _ := byTheBook(stream)
			now := kept
			for _, e := range decoded {
				if !utf8.ValidString(e.data) {
					t.Fatalf("cut inside a code point: %q", e.data)
				}
				if err := now.add(e); err != nil {
					t.Fatal(err)
				}
				if e.id != "" {
					n, err := strconv.ParseInt(e.id, 10, 64)
					if err != nil || n <= after && after >= 0 {
						t.Fatalf("number %q after %d: %v", e.id, after, err)
					}
					after, kept = n, now
				}
			}
			if cuts <= 0 || now.done {
				kept = now
				break
			}
		}
		if kept != want {
			t.Fatalf("text of %d bytes, want %d; thought %d, want %d; %+v", len(kept.text), len(want.text), len(kept.thought), len(want.thought), kept.finishes)
		}
	})
}

func TestJSONSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text") + string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		var encoded bytes.Buffer
		if err := web.NewLineEncoder(&encoded).Encode(text); err != nil {
			t.Fatal(err)
		}
		bare := encoded.Len() - len("\"\"\n")
		if fits, size := jsonSize(text, bare); fits != len(text) || size != bare {
			t.Fatalf("%q: %d of %d bytes, %d of %d as JSON", text, fits, len(text), size, bare)
		}
	})
}
