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

func FuzzClaude(f *testing.F) { fuzz(f, "claude") }

func FuzzPi(f *testing.F) { fuzz(f, "pi") }

func FuzzJSONL(f *testing.F) { fuzz(f, "jsonl") }

func FuzzExec(f *testing.F) { fuzz(f, "exec") }

// fuzz gives a machine any bytes as lines: it must not panic, must give the same
// events each time, say nothing after its end, never void what it didn't say,
// and keep within bounds what it shows of tools, notices and failures.
func fuzz(f *testing.F, kind string) {
	for _, seed := range seeds(f, kind) {
		f.Add(seed)
	}
	b, err := New(backend.Config{Name: kind, Kind: kind})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		events := feed(b.Machine(backend.Request{}), data)
		if again := feed(b.Machine(backend.Request{}), data); !reflect.DeepEqual(events, again) {
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
