package daemon

import (
	"strings"
	"testing"
	"time"
)

const structuredConfig = small + `
[backends.lines]
kind = "jsonl"
command = ["/bin/sh"]
[backends.words]
kind = "exec"
command = ["/bin/sh"]
`

// asking is a chat that wants an object with a number n.
func asking(stream bool) map[string]any {
	return map[string]any{"stream": stream, "response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{
		"name": "number", "strict": true,
		"schema": map[string]any{"type": "object", "properties": map[string]any{"n": map[string]any{"type": "integer"}}, "required": []string{"n"}},
	}}}
}

// Whatever a program prints, a client that asked for a schema gets an answer that keeps to
// it, one that is told as cut, or a failure: streamed, whole, and read again.
func TestStructuredAnswers(t *testing.T) {
	d := Start(t, Options{Config: structuredConfig})
	for i, row := range []struct {
		name, model, prompt  string
		text, finish         string
		code, says, reasoned string
	}{
		{name: "the demo", model: "demo", prompt: `thinking it over /last {"n":7}`, text: `{"n":7}`, finish: "stop"},
		{name: "lines", model: "lines", prompt: `echo '{"reasoning":"hm","text":"{\"n\":"}'; sleep 0.2; echo '{"text":" 7 }"}'; echo '{"done":true}'; exit`, text: `{"n": 7 }`, finish: "stop", reasoned: "hm"},
		{name: "lines, in a fence", model: "lines", prompt: `printf '%s\n' '{"text":"So:\n\n` + "```json" + `\n{\"n\":7}\n` + "```" + `"}'; echo '{"done":true}'; exit`, text: `{"n":7}`, finish: "stop"},
		{name: "lines, cut", model: "lines", prompt: `echo '{"text":"{\"n"}'; echo '{"done":"length"}'; exit`, text: `{"n`, finish: "length"},
		{name: "lines, refused", model: "lines", prompt: `echo '{"text":"I can"}'; echo '{"done":"content_filter"}'; exit`, text: "I can", finish: "content_filter"},
		{name: "lines, wrong", model: "lines", prompt: `echo '{"text":"{\"n\":\"7\"}"}'; echo '{"done":true}'; exit`, code: "invalid_output", says: "n: has to be of type integer, is string"},
		{name: "lines, killed", model: "lines", prompt: `echo '{"text":"{\"n\":7}"}'; kill -9 $$`, code: "killed"},
		{name: "words", model: "words", prompt: `echo '{"n":'; echo '7}'; exit`, text: "{\"n\":\n7}", finish: "stop"},
		{name: "words, none", model: "words", prompt: `exit`, code: "invalid_output", says: "is empty"},
		{name: "words, killed", model: "words", prompt: `echo '{"n":'; kill -9 $$`, code: "killed"},
		{name: "words, failed", model: "words", prompt: `echo '{"n":7}'; echo sorrow >&2; exit 3`, code: "cli_error", says: "sorrow"},
	} {
		for _, stream := range []bool{false, true} {
			id := "structured-" + strings.Repeat("a", i+1) + map[bool]string{true: "-stream"}[stream]
			for _, reading := range []string{"first", "again"} {
				a, err := d.Durable(bounded(t, 30*time.Second), id, "", Body(row.model, row.prompt, asking(stream)), nil)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if a.Error != nil {
					got = a.Error.Code
				}
				if got != row.code || row.code != "" && !strings.Contains(a.Error.Message, row.says) {
					t.Errorf("%s, stream %v, %s: error %+v, want %s: %s", row.name, stream, reading, a.Error, row.code, row.says)
				}
				if row.code == "" && (a.Text != row.text || a.Finish != row.finish || !strings.Contains(a.Reasoning, row.reasoned)) {
					t.Errorf("%s, stream %v, %s: %q, %s, %q; want %q, %s, %q", row.name, stream, reading, a.Text, a.Finish, a.Reasoning, row.text, row.finish, row.reasoned)
				}
				if stream && (row.code != "" && row.code != "cli_error" && a.Text != "" || a.Deltas > 1 || !a.Done) {
					t.Errorf("%s, %s: streamed %q in %d pieces, done %v", row.name, reading, a.Text, a.Deltas, a.Done)
				}
			}
		}
	}
}

func TestSchemaIsRefusedBeforeAStart(t *testing.T) {
	d := Start(t, Options{Config: structuredConfig})
	body := Body("demo", "/last 1", map[string]any{"response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{
		"name": "n", "schema": map[string]any{"properties": map[string]any{"x": map[string]any{"type": "strng"}}},
	}}})
	a, err := d.Chat(bounded(t, 30*time.Second), body, nil)
	if err != nil || a.Status != 400 || a.Error == nil || a.Error.Param != "response_format.json_schema.schema.properties.x.type" {
		t.Errorf("%+v, error %+v, %v", a, a.Error, err)
	}
}
