package kinds

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"penstock/backend"
	"penstock/backend/parse"
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

func FuzzClaude(f *testing.F) { fuzz(f, "claude") }

func FuzzPi(f *testing.F) { fuzz(f, "pi") }

func FuzzJSONL(f *testing.F) { fuzz(f, "jsonl") }

func FuzzExec(f *testing.F) { fuzz(f, "exec") }

// fuzz gives a machine any bytes as lines: it must not panic, must give the same
// events each time, say nothing after its end, never void what it didn't say,
// and keep within bounds what it shows of tools, notices and failures.
func fuzz(f *testing.F, kind string) { fuzzRequest(f, kind, backend.Request{}) }

func fuzzRequest(f *testing.F, kind string, r backend.Request) {
	for _, seed := range seeds(f, kind) {
		f.Add(seed)
	}
	b, err := New(backend.Config{Name: kind, Kind: kind})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		events := feed(b.Machine(r), data)
		if again := feed(b.Machine(r), data); !reflect.DeepEqual(events, again) {
			t.Fatalf("two replays differ:\n%+v\n%+v", events, again)
		}
		s := listen(t, events)
		checkUsage(t, s.Usage)
		for _, tool := range s.Tools {
			if len(tool.Input) > backend.ToolTextMax || len(tool.Output) > backend.ToolTextMax {
				t.Errorf("tool %s: %d bytes in, %d out", tool.Name, len(tool.Input), len(tool.Output))
			}
		}
		for _, notice := range s.Notices {
			if len(notice) > parse.NoticeMax {
				t.Errorf("notice of %d bytes", len(notice))
			}
		}
		if s.End != nil && s.End.Kind == backend.Failed && (len(s.End.Failure.Message) > parse.FailureMax || s.End.Failure.Message == "" || s.End.Failure.Code == "") {
			t.Errorf("failure %+v", s.End.Failure)
		}
		if _, err := json.Marshal(events); err != nil {
			t.Errorf("events can't be stored: %v", err)
		}
	})
}

// seeds are the recordings, whole and damaged, and what breaks parsers.
func seeds(f *testing.F, kind string) [][]byte {
	all := [][]byte{
		nil, []byte("\n\n"), []byte("null\n"), []byte("{}\n[]\n1\n\"x\"\n"), []byte(strings.Repeat("[", 20000)), []byte(strings.Repeat(`{"message":`, 5000)),
		[]byte("{\"text\":\"a\"}\n{\"void\":0}\n{\"error\":{}}\n"), {0xff, 0xfe, '\n', 0xe2, 0x82}, []byte(`{"type":"assistant","message":{"content":[{"type":"tool_use","input":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}]}}`),
	}
	files, err := filepath.Glob(filepath.Join("..", "testdata", kind, "*.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, data, data[:len(data)*2/3], bytes.ReplaceAll(data, []byte(`":"`), []byte(`":7,"`)), bytes.ReplaceAll(data, []byte(`{"`), []byte(`["`)))
	}
	return all
}
