package kinds

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

// Held to a shape, every recording of an answer in words is told as invalid, or asked for once
// more, and all else of it is told as it is.
func TestKinds_Structured(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*", "*.jsonl"))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		kind, scenario := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), ".jsonl")
		if strings.HasPrefix(scenario, "schema") || strings.HasPrefix(scenario, "told") || scenario == "converse-again" {
			continue // its answer may be JSON, or a second one
		}
		_, again := machineOf(t, kind, backend.Request{}).(backend.Reprompter)
		free, held := listen(t, replay(t, kind, scenario, backend.Request{})), listen(t, replay(t, kind, scenario, backend.Request{AnyObject: true}))
		want := free.ended()
		switch {
		case want == "stop" && again:
			want = "nothing" // it is asked once more
		case want == "stop":
			want = "invalid_output"
		}
		text := free.Text
		if free.ended() == "stop" || free.End == nil || free.End.Kind == backend.Failed {
			text = ""
		}
		if held.ended() != want || held.Text != text || held.Reasoning != free.Reasoning || len(held.Tools) != len(free.Tools) || held.Session != free.Session {
			t.Errorf("%s: ended with %s, text %q; want %s, %q", file, held.ended(), held.Text, want, text)
		}
	}
}

// What CLIs make of a schema that they are told, or hold loosely: whether they are asked
// once more, and with what usage: the scripted model tells 12 tokens of each turn.
func TestKinds_ToldASchema(t *testing.T) {
	const ada = `{"name":"Ada","age":36}`
	type row struct {
		kind, scenario, text, ended string
		message                     string // part of a failure's message
		notices                     []string
		asked                       int // turns
	}
	rows := []row{
		{kind: "codex", scenario: "schema", text: ada, ended: "stop", asked: 1},
		{kind: "codex", scenario: "schema-mended", text: ada, ended: "stop", notices: []string{`has no JSON: it begins "She is`}, asked: 2},
	}
	for _, kind := range []string{"gemini", "kimi", "opencode", "pi"} {
		rows = append(rows,
			row{kind: kind, scenario: "told", text: ada, ended: "stop", asked: 1},
			row{kind: kind, scenario: "told-mended", text: ada, ended: "stop", notices: []string{`has no JSON: it begins "She is`}, asked: 2},
			row{kind: kind, scenario: "told-wrong", ended: "invalid_output", message: `lacks "age" (it was asked twice`, notices: []string{`lacks "age"; the CLI is asked once more`}, asked: 2},
			row{kind: kind, scenario: "told-cut", text: `tok0 tok1 {"name":"Ad marked-user-turns=1`, ended: "length", asked: 1})
	}
	for _, row := range rows {
		t.Run(row.kind+"/"+row.scenario, func(t *testing.T) {
			live, replayed := spokenTo(row.scenario)
			data := recording(t, row.kind, row.scenario)
			events := feed(machineOf(t, row.kind, live), data)
			s := listen(t, events)
			if s.Text != row.text || s.ended() != row.ended {
				t.Errorf("text %q, ended with %s; want %q, %s", s.Text, s.ended(), row.text, row.ended)
			}
			if row.message != "" && !strings.Contains(s.End.Failure.Message, row.message) {
				t.Errorf("message %q, want %q in it", s.End.Failure.Message, row.message)
			}
			ours := slices.DeleteFunc(s.Notices, func(n string) bool { return !strings.HasPrefix(n, "the answer is not JSON") })
			if len(ours) != len(row.notices) {
				t.Fatalf("notices %q", ours)
			}
			for i, want := range row.notices {
				if !strings.Contains(ours[i], want) {
					t.Errorf("notice %q, want %q in it", ours[i], want)
				}
			}
			if s.Usage == nil || s.Usage.CompletionTokens == nil || *s.Usage.CompletionTokens != int64(12*row.asked) {
				t.Errorf("usage %+v, want that of %d turns", s.Usage, row.asked)
			}
			if diff := cmp.Diff(events, feed(machineOf(t, row.kind, replayed), data)); diff != "" {
				t.Errorf("a replay differs (-live +replay)\n%s", diff)
			}
		})
	}
}
