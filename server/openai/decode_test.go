package openai

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/internal/openapitest"
	"penstock/server/dialect"
	"penstock/server/web"
)

const hello = `"model":"claude","messages":[{"role":"user","content":"hi"}]`

func TestDecode_Refused(t *testing.T) {
	for _, row := range openapitest.BadBodies() {
		t.Run(row.Name, func(t *testing.T) {
			_, err := DecodeChat([]byte(row.Body), http.Header{})
			var e *web.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want an httpError", err)
			}
			if e.Status != row.Status || e.Param != row.Param || e.Code != "invalid_request" {
				t.Errorf("status %d code %s param %q, want %d invalid_request %q (%s)", e.Status, e.Code, e.Param, row.Status, row.Param, e.Message)
			}
		})
	}
}

func TestDecode_CutOff(t *testing.T) {
	_, err := DecodeChat([]byte(`{"model":`), nil)
	if err == nil || !strings.Contains(err.Error(), "not valid JSON: unexpected EOF") {
		t.Errorf("%v", err)
	}
}

func TestDecode_Accepted(t *testing.T) {
	for _, row := range []struct {
		name, body string
		ignored    []string
	}{
		{"plain", `{` + hello + `}`, nil},
		{"legal nothings", `{` + hello + `,"n":1,"stop":null,"logprobs":false,"tool_choice":"auto","response_format":{"type":"text"},"stop_sequences":null}`, nil},
		{"ignored", `{` + hello + `,"temperature":0,"seed":1,"tools":[],"user":"u","zebra":{}}`, []string{"seed", "temperature", "tools", "user", "zebra"}},
		{"deep enough", `{` + hello + `,"x":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`, []string{"x"}},
		{"brackets in strings", `{` + hello + `,"x":"` + strings.Repeat("[", 100) + `\"{{"}`, []string{"x"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			q, err := DecodeChat([]byte(row.body), http.Header{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.ignored, q.Ignored); diff != "" {
				t.Errorf("ignored (-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecode_Values(t *testing.T) {
	body := `{"model":"bridge/claude-code/opus","stream":true,"stream_options":{"include_usage":true},"timeout_ms":1500,
		"messages":[{"role":"developer","content":"rule"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"r"}],
		"limits":{"memory_max":"64MiB","pids_max":40,"cpu_max":"150%"},"reasoning_effort":"high","metadata":{"k":"v"},"session_id":"s"}`
	q, err := DecodeChat([]byte(body), http.Header{"X-Session-Id": {"s"}})
	if err != nil {
		t.Fatal(err)
	}
	call := dialect.ToolCall{ID: "c1", Name: "f", Arguments: "{}"}
	want := []dialect.Message{{Role: "system", Text: "rule"}, {Role: "user", Text: "a\nb"}, {Role: "assistant", ToolCalls: []dialect.ToolCall{call}}, {Role: "tool", Text: "r", ToolID: "c1"}}
	if diff := cmp.Diff(want, q.Messages); diff != "" {
		t.Errorf("messages (-want +got)\n%s", diff)
	}
	got := fmt.Sprintln(q.Stream, q.IncludeUsage, q.Timeout, q.Limits, q.Effort, string(q.Metadata), q.Session)
	if want := `true true 1.5s {67108864 40 1.5} high {"k":"v"} s` + "\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecode_SessionsMustAgree(t *testing.T) {
	for _, row := range []struct {
		body string
		h    http.Header
		want string
	}{
		{`{` + hello + `}`, http.Header{"X-Resume": {"a"}}, "a"},
		{`{` + hello + `}`, http.Header{"X-Resume": {"a"}, "X-Conversation-Id": {"a"}}, "a"},
		{`{` + hello + `,"session_id":"b"}`, http.Header{"X-Resume": {"a"}}, ""},
		{`{` + hello + `}`, http.Header{"X-Session-Id": {"a"}, "X-Conversation-Id": {"b"}}, ""},
	} {
		q, err := DecodeChat([]byte(row.body), row.h)
		switch {
		case row.want == "" && err == nil:
			t.Errorf("%v: session %q, want an error", row.h, q.Session)
		case row.want != "" && (err != nil || q.Session != row.want):
			t.Errorf("%v: %v %v, want %q", row.h, q, err, row.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	print := func(body string, h http.Header) dialect.Fingerprint {
		q, err := DecodeChat([]byte(body), h)
		if err != nil {
			t.Fatal(err)
		}
		f, err := q.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := print(`{"model":"claude","messages":[{"role":"user","content":"hi"}],"metadata":{"a":1,"b":2}}`, nil)
	same := print(`{ "metadata":{"b":2,"a":1}, "stream":true, "messages":[{"content":"hi","role":"user"}], "model":"claude"}`, nil)
	if first != same {
		t.Error("order, space or streaming made another request of it")
	}
	for _, body := range []string{
		`{"model":"claude","messages":[{"role":"user","content":"ho"}],"metadata":{"a":1,"b":2}}`,
		`{"model":"claude","messages":[{"role":"user","content":"hi"}],"metadata":{"a":1,"b":20000000000000000001}}`,
		`{"model":"claude","messages":[{"role":"user","content":"hi"}],"metadata":{"a":1,"b":20000000000000000002}}`,
	} {
		if print(body, nil) == first {
			t.Errorf("%s has the fingerprint of another request", body)
		}
	}
	if print(`{`+hello+`}`, http.Header{"X-Resume": {"s"}}) == print(`{`+hello+`}`, nil) {
		t.Error("the session does not count")
	}
}

func FuzzDecodeChat(f *testing.F) {
	for _, row := range openapitest.BadBodies() {
		if len(row.Body) < 1<<12 {
			f.Add([]byte(row.Body))
		}
	}
	f.Add([]byte(`{` + hello + `,"limits":{"cpu_max":2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := DecodeChat(body, http.Header{})
		var e *web.Error
		switch {
		case err != nil && (!errors.As(err, &e) || e.Status != 400):
			t.Fatalf("error %v is not a 400", err)
		case err == nil:
			if q.Model == "" || len(q.Messages) == 0 {
				t.Fatalf("accepted without model or messages: %s", body)
			}
			if _, err := q.Fingerprint(); err != nil {
				t.Fatal(err)
			}
			if _, err := dialect.Prompt(q.Messages, false); err != nil && !errors.As(err, &e) {
				t.Fatal(err)
			}
		}
	})
}
