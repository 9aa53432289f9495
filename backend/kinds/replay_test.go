package kinds

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/backend"
)

// replay feeds a recording to a new machine of kind, as a reader of a finished
// run does, and returns all events. Recordings are made by test/record.
func replay(t testing.TB, kind, scenario string, r backend.Request) []backend.Event {
	t.Helper()
	b, err := New(backend.Config{Name: kind, Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return feed(b.Machine(r), recording(t, kind, scenario))
}

func recording(t testing.TB, kind, scenario string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", kind, scenario+".jsonl"))
	if err != nil {
		t.Fatalf("%v (make it with: go -C test run ./record -cli %s -scenario %s)", err, kind, scenario)
	}
	return data
}

// feed gives a machine the lines of data, each in a buffer that is spoilt after
// the call: a machine must not keep the slice.
func feed(m backend.Machine, data []byte) []backend.Event {
	var events []backend.Event
	m.Open()
	for line := range bytes.Lines(data) {
		buffer := bytes.Clone(bytes.TrimSuffix(line, []byte("\n")))
		got, _ := m.Line(buffer)
		events = append(events, got...)
		for i := range buffer {
			buffer[i] = '#'
		}
	}
	return append(events, m.Close()...)
}

// said is what a client makes of a run's events.
type said struct {
	Text, Reasoning string
	Session         string
	Tools           []backend.Tool
	Notices         []string
	Voids           []int // Keep of each
	Usage           *backend.Usage
	End             *backend.Event // the terminal event
	deltas          int            // Text events
}

// listen plays the client, and checks what holds for any backend: nothing after
// the terminal event, and no Void that keeps more than there is.
func listen(t testing.TB, events []backend.Event) said {
	t.Helper()
	var s said
	for i, e := range events {
		if s.End != nil {
			t.Errorf("event %d %+v comes after the end", i, e)
		}
		switch e.Kind {
		case backend.Text:
			s.Text += e.Text
			s.deltas++
		case backend.Reasoning:
			s.Reasoning += e.Text
		case backend.ToolUse:
			s.Tools = append(s.Tools, *e.Tool)
		case backend.Session:
			s.Session = e.Session
		case backend.UsageReport:
			s.Usage = e.Usage
		case backend.Notice:
			s.Notices = append(s.Notices, e.Text)
		case backend.Void:
			if e.Keep < 0 || e.Keep >= len(s.Text) {
				t.Errorf("event %d keeps %d bytes of %d", i, e.Keep, len(s.Text))
				continue
			}
			s.Voids = append(s.Voids, e.Keep)
			s.Text = s.Text[:e.Keep]
		case backend.Failed, backend.Done:
			s.End = &e
		default:
			t.Errorf("event %d has kind %d", i, e.Kind)
		}
	}
	return s
}

// ended is the terminal event in a word: a finish reason, a failure's code with
// its status, or "nothing".
func (s said) ended() string {
	switch {
	case s.End == nil:
		return "nothing"
	case s.End.Kind == backend.Done:
		return s.End.Finish
	case s.End.Failure.Status == 0:
		return s.End.Failure.Code
	}
	return s.End.Failure.Code + " " + itoa(s.End.Failure.Status)
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

func number[N any](n N) *N { return &n }

func lines(l ...string) []byte { return []byte(strings.Join(l, "\n") + "\n") }
