package openapitest

import (
	"net/http"
	"strings"
	"testing"
)

// small is a document with two streams, one of which has names.
const small = `{"paths": {"/": {"get": {"responses": {"200": {"content": {"text/event-stream": {"schema": {"oneOf": [
	{"$ref": "#/components/schemas/Plain"}, {"$ref": "#/components/schemas/Named"}]}}}}}}}},
"components": {"schemas": {
	"Plain": {"x-event-data": {"type": "object", "properties": {"n": {"type": "integer"}}}, "x-event-end": "[DONE]", "x-event-line": 100},
	"Named": {"x-event-number": "n", "x-event-last": ["end", "error"], "x-events": {
		"a.b": {"type": "object", "required": ["text"], "properties": {"type": {}, "n": {}, "text": {"type": "string"}}},
		"end": {"type": "object", "properties": {"type": {}, "n": {}}},
		"error": {"type": "object", "properties": {"type": {}, "n": {}}}
	}}
}}}`

// Each event of a stream is held to its own schema, and the stream to its end, however it is cut.
func TestStreamCheck(t *testing.T) {
	d, err := parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	named := func(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
	text, end := named("a.b", `{"type":"a.b","n":0,"text":"x"}`), named("end", `{"type":"end","n":7}`)
	for _, row := range []struct{ name, stream, fails string }{
		{"plain", ": ping\n\ndata: {\"n\":1}\nid: 1\n\ndata: [DONE]\n\n", ""},
		{"plain, wrong", "data: {\"n\":\"1\"}\n\ndata: [DONE]\n\n", "event 1 is of no stream"},
		{"plain, more", "data: {\"m\":1}\n\ndata: [DONE]\n\n", "event 1 is of no stream"},
		{"plain, cut", "data: {\"n\":1}\n\n", "without its end"},
		{"plain, and more", "data: [DONE]\n\ndata: {\"n\":1}\n\n", "after its end"},
		{"named", ": ping\n\n" + text + end, ""},
		{"named, an error at once", named("error", `{"type":"error","n":0}`), ""},
		{"named, cut", text, "without its end"},
		{"named, cut in a line", text + end + "data: ", "without its end"},
		{"named, and more", text + end + named("end", `{"type":"end","n":8}`), "after its end"},
		{"named, two ends in one", text + end + "data: [DONE]\n\n", "after its end"},
		{"of another name", named("a.c", `{"type":"a.c"}`), `has no event "a.c"`},
		{"of another type", named("end", `{"type":"error","n":1}`), "has the type error"},
		{"without a type", named("end", `{"n":1}`), "has the type <nil>"},
		{"lacks a member", named("a.b", `{"type":"a.b","n":1}`), "event a.b"},
		{"one too many", named("end", `{"type":"end","n":1,"x":1}`), "event end"},
		{"no number", named("end", `{"type":"end"}`), "has no n"},
		{"the same number", text + text, "n 0 after 0"},
		{"no data", "event: end\n\n", "no data follows"},
		{"a mixture", text + "data: {\"n\":1}\n\n", "event 2 is of no stream"},
		{"a long line", "data: {\"n\":1" + strings.Repeat(" ", 100) + "}\n\n", "a line of"},
		{"a long line where it may be", named("a.b", `{"type":"a.b","n":0,"text":"`+strings.Repeat("x", 100)+`"}`) + end, ""},
		{"another line", "retry: 10\n\n", "neither"},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}}
			r, err := http.NewRequestWithContext(t.Context(), "GET", "/", nil)
			if err != nil {
				t.Fatal(err)
			}
			check, err := d.checkHead(r, resp)
			if err != nil {
				t.Fatal(err)
			}
			rest := row.stream + "\n"
			if strings.HasSuffix(row.stream, "data: ") {
				rest = row.stream
			}
			for err == nil && rest != "" {
				n := min(size, len(rest))
				err = check.add([]byte(rest[:n]))
				rest = rest[n:]
			}
			if err == nil {
				err = check.end()
			}
			if (err == nil) != (row.fails == "") || err != nil && !strings.Contains(err.Error(), row.fails) {
				t.Errorf("%s in pieces of %d: %v, want %q", row.name, size, err, row.fails)
			}
		}
	}
}
