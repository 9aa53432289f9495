package answer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"penstock/backend"
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
			given := 0
			if err := s.each(func(backend.Event) error { given++; return nil }); err != nil || !row.many && given != len(row.events) {
				t.Errorf("%d of %d events: %v", given, len(row.events), err)
			}
		})
	}
	s := answerSummary{}
	s.add(word(1))
	failure := errors.New("x")
	if err := s.each(func(backend.Event) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}
