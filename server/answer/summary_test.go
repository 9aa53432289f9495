package answer

import (
	"slices"
	"strings"
	"testing"

	"penstock/backend"
	"penstock/server/dialect"
)

// Only the events of a short answer are held: those of a long one are read again.
func TestAnswerSummary_HoldsFew(t *testing.T) {
	word := func(n int) backend.Event {
		return backend.Event{Kind: backend.Text, Text: strings.Repeat("x", n)}
	}
	for name, row := range map[string]struct {
		events []backend.Event
		many   bool
	}{
		"none":     {},
		"short":    {events: []backend.Event{word(3), {Kind: backend.Done}}},
		"in bytes": {events: []backend.Event{word(fewBytes), {Kind: backend.Done}}},
		"too long": {events: []backend.Event{word(fewBytes), word(1)}, many: true},
		"in all":   {events: slices.Repeat([]backend.Event{word(1)}, fewEvents)},
		"too many": {events: slices.Repeat([]backend.Event{word(1)}, fewEvents+1), many: true},
		"a tool's": {events: []backend.Event{{Kind: backend.ToolUse, Tool: &backend.Tool{}}, word(1)}, many: true},
	} {
		t.Run(name, func(t *testing.T) {
			var s answerSummary
			for _, e := range row.events {
				s.add(e)
			}
			if s.many != row.many || row.many && s.events != nil {
				t.Fatalf("many %v, want %v: %d events held", s.many, row.many, len(s.events))
			}
			if s.many {
				return
			}
			given := 0
			for events := s.again(nil); ; given++ {
				if _, err := events.Next(t.Context()); err != nil {
					break
				}
			}
			if given != len(row.events) {
				t.Errorf("%d of %d events", given, len(row.events))
			}
		})
	}
}

// What is said again as it was stands where a stream has told it; what is not stands where it
// was said last.
func TestAnswerSummary_TakenBack(t *testing.T) {
	text := func(s string) backend.Event { return backend.Event{Kind: backend.Text, Text: s} }
	tool := backend.Event{Kind: backend.ToolUse, Tool: &backend.Tool{Name: "f"}}
	void := func(keep int) backend.Event { return backend.Event{Kind: backend.Void, Keep: keep} }
	for name, row := range map[string]struct {
		events []backend.Event
		want   string
	}{
		"not":        {[]backend.Event{text("ab"), tool, text("c")}, "ab f c "},
		"the same":   {[]backend.Event{text("ab"), tool, void(0), text("a"), text("bc"), {Kind: backend.Done}, text("x")}, "ab f c "},
		"partly":     {[]backend.Event{text("ab"), tool, void(1), text("bc")}, "ab f c "},
		"another":    {[]backend.Event{text("ab"), tool, void(1), text("xc")}, "a f xc "},
		"never":      {[]backend.Event{text("ab"), tool, void(1)}, "a f "},
		"twice":      {[]backend.Event{text("ab"), void(0), text("a"), void(0), tool, text("ab")}, "ab f "},
		"in the end": {[]backend.Event{text("ab"), tool, void(0), text("ab")}, "ab f "},
	} {
		t.Run(name, func(t *testing.T) {
			known := &answerSummary{}
			for i, e := range row.events {
				e.Seq = uint64(i + 1)
				row.events[i] = e
				known.add(e)
			}
			known.last = uint64(len(row.events))
			again := func() eventSource { held := heldEvents(row.events); return &held }
			var unread error
			if err := known.judge(t.Context(), answerEvents{again(), &unread}); err != nil {
				t.Fatal(err)
			}
			known.restated = known.restated && known.takenBack
			got := ""
			if err := known.steps(t.Context(), again, &unread).Each(func(s dialect.Step) error {
				if s.Tool != nil {
					s.Text = s.Tool.Name
				}
				got += s.Text + " "
				return nil
			}); err != nil || got != row.want {
				t.Errorf("%q %v, want %q", got, err, row.want)
			}
		})
	}
}
