package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/server/web"
)

const hello = `"model":"claude","messages":[{"role":"user","content":"hi"}]`

// badBodies are refused whole; the daemon's test sends them over the wire too.
var badBodies = []struct {
	name, body, param string
	status            int
}{
	{"empty", ``, "", 400},
	{"blank", "  \n", "", 400},
	{"not json", `hello`, "", 400},
	{"cut off", `{"model":"claude"`, "", 400},
	{"array", `[]`, "", 400},
	{"null", `null`, "", 400},
	{"string", `"claude"`, "", 400},
	{"trailing object", `{` + hello + `}{}`, "", 400},
	{"trailing word", `{` + hello + `} x`, "", 400},
	{"invalid utf-8", "{\"model\":\"a\xff\"}", "", 400},
	{"too deep", `{"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "", 400},
	{"absurdly deep", strings.Repeat("[", 1<<20), "", 400},
	{"key twice", `{"model":"a",` + hello + `}`, "model", 400},
	{"no model", `{"messages":[{"role":"user","content":"hi"}]}`, "model", 400},
	{"model null", `{"model":null,"messages":[{"role":"user","content":"hi"}]}`, "model", 400},
	{"model number", `{"model":7,"messages":[{"role":"user","content":"hi"}]}`, "model", 400},
	{"model long", `{"model":"` + strings.Repeat("a", 300) + `","messages":[{"role":"user","content":"hi"}]}`, "model", 400},
	{"model control", `{"model":"a\u0007b","messages":[{"role":"user","content":"hi"}]}`, "model", 400},
	{"no messages", `{"model":"claude"}`, "messages", 400},
	{"no message", `{"model":"claude","messages":[]}`, "messages", 400},
	{"messages string", `{"model":"claude","messages":"hi"}`, "messages", 400},
	{"message string", `{"model":"claude","messages":["hi"]}`, "messages[0]", 400},
	{"only system", `{"model":"claude","messages":[{"role":"system","content":"be nice"}]}`, "messages", 400},
	{"no role", `{"model":"claude","messages":[{"content":"hi"}]}`, "messages[0].role", 400},
	{"odd role", `{"model":"claude","messages":[{"role":"wizard","content":"hi"}]}`, "messages[0].role", 400},
	{"role number", `{"model":"claude","messages":[{"role":1,"content":"hi"}]}`, "messages[0].role", 400},
	{"no content", `{"model":"claude","messages":[{"role":"user"}]}`, "messages[0].content", 400},
	{"content number", `{"model":"claude","messages":[{"role":"user","content":3}]}`, "messages[0].content", 400},
	{"content object", `{"model":"claude","messages":[{"role":"user","content":{}}]}`, "messages[0].content", 400},
	{"refusal by the user", `{"model":"claude","messages":[{"role":"user","content":[{"type":"refusal"}]},{"role":"assistant","content":[{"type":"refusal"}]}]}`, "messages[1].content[0].refusal", 400},
	{"name number", `{"model":"claude","messages":[{"role":"user","name":3,"content":"hi"}]}`, "messages[0].name", 400},
	{"call string", `{"model":"claude","messages":[{"role":"assistant","tool_calls":["f"]}]}`, "messages[0].tool_calls[0]", 400},
	{"call name number", `{"model":"claude","messages":[{"role":"assistant","tool_calls":[{"type":"custom","custom":{"name":1}}]}]}`, "messages[0].tool_calls[0].custom.name", 400},
	{"legacy call string", `{"model":"claude","messages":[{"role":"assistant","function_call":"f"}]}`, "messages[0].function_call", 400},
	{"part without text", `{"model":"claude","messages":[{"role":"user","content":[{"type":"text"}]}]}`, "messages[0].content[0].text", 400},
	{"part text number", `{"model":"claude","messages":[{"role":"user","content":[{"type":"text","text":4}]}]}`, "messages[0].content[0].text", 400},
	{"stream string", `{` + hello + `,"stream":"yes"}`, "stream", 400},
	{"stream options", `{` + hello + `,"stream_options":true}`, "stream_options", 400},
	{"include usage", `{` + hello + `,"stream_options":{"include_usage":1}}`, "stream_options.include_usage", 400},
	{"n 2", `{` + hello + `,"n":2}`, "n", 400},
	{"n 0", `{` + hello + `,"n":0}`, "n", 400},
	{"n huge", `{` + hello + `,"n":1e400}`, "n", 400},
	{"logprobs", `{` + hello + `,"logprobs":true}`, "logprobs", 400},
	{"top logprobs", `{` + hello + `,"top_logprobs":3}`, "top_logprobs", 400},
	{"stop", `{` + hello + `,"stop":"\n"}`, "stop", 400},
	{"stop list", `{` + hello + `,"stop":["a"]}`, "stop", 400},
	{"tool choice", `{` + hello + `,"tool_choice":"required"}`, "tool_choice", 400},
	{"tool choice function", `{` + hello + `,"tool_choice":{"type":"function","function":{"name":"f"}}}`, "tool_choice", 400},
	{"json schema", `{` + hello + `,"response_format":{"type":"json_schema","json_schema":{}}}`, "response_format", 400},
	{"response format string", `{` + hello + `,"response_format":"json"}`, "response_format", 400},
	{"audio", `{` + hello + `,"modalities":["text","audio"]}`, "modalities", 400},
	{"timeout 0", `{` + hello + `,"timeout_ms":0}`, "timeout_ms", 400},
	{"timeout negative", `{` + hello + `,"timeout_ms":-5}`, "timeout_ms", 400},
	{"timeout fraction", `{` + hello + `,"timeout_ms":1.5}`, "timeout_ms", 400},
	{"timeout huge", `{` + hello + `,"timeout_ms":9223372036854775807}`, "timeout_ms", 400},
	{"limits array", `{` + hello + `,"limits":[]}`, "limits", 400},
	{"limits unknown", `{` + hello + `,"limits":{"memory":"1G"}}`, "limits.memory", 400},
	{"limits memory word", `{` + hello + `,"limits":{"memory_max":"lots"}}`, "limits.memory_max", 400},
	{"limits memory negative", `{` + hello + `,"limits":{"memory_max":-1}}`, "limits.memory_max", 400},
	{"limits memory endless", `{` + hello + `,"limits":{"memory_max":"99999999999999999999"}}`, "limits.memory_max", 400},
	{"limits pids 0", `{` + hello + `,"limits":{"pids_max":0}}`, "limits.pids_max", 400},
	{"limits pids word", `{` + hello + `,"limits":{"pids_max":"many"}}`, "limits.pids_max", 400},
	{"limits cpu", `{` + hello + `,"limits":{"cpu_max":"fast"}}`, "limits.cpu_max", 400},
	{"effort number", `{` + hello + `,"effort":3}`, "effort", 400},
	{"effort option", `{` + hello + `,"effort":"--danger"}`, "effort", 400},
	{"efforts disagree", `{` + hello + `,"effort":"low","reasoning_effort":"high"}`, "effort", 400},
	{"session number", `{` + hello + `,"session_id":3}`, "session_id", 400},
	{"session control", `{` + hello + `,"session_id":"a\nb"}`, "session_id", 400},
	{"metadata string", `{` + hello + `,"metadata":"x"}`, "metadata", 400},
	{"metadata long", `{` + hello + `,"metadata":{"a":"` + strings.Repeat("x", 20000) + `"}}`, "metadata", 400},
	{"cwd number", `{` + hello + `,"cwd":3}`, "cwd", 400},
}

func TestBadBodies(t *testing.T) {
	for _, row := range badBodies {
		t.Run(row.name, func(t *testing.T) {
			_, err := decodeChat([]byte(row.body), http.Header{})
			var e *web.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want an httpError", err)
			}
			if e.Status != row.status || e.Param != row.param || e.Code != "invalid_request" {
				t.Errorf("status %d code %s param %q, want %d invalid_request %q (%s)", e.Status, e.Code, e.Param, row.status, row.param, e.Message)
			}
		})
	}
}

func TestCutOffBody(t *testing.T) {
	_, err := decodeChat([]byte(`{"model":`), nil)
	if err == nil || !strings.Contains(err.Error(), "not valid JSON: unexpected EOF") {
		t.Errorf("%v", err)
	}
}

func TestGoodBodies(t *testing.T) {
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
			q, err := decodeChat([]byte(row.body), http.Header{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.ignored, q.Ignored); diff != "" {
				t.Errorf("ignored (-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecodeValues(t *testing.T) {
	body := `{"model":"bridge/claude-code/opus","stream":true,"stream_options":{"include_usage":true},"timeout_ms":1500,
		"messages":[{"role":"developer","content":"rule"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"r"}],
		"limits":{"memory_max":"64MiB","pids_max":40,"cpu_max":"150%"},"reasoning_effort":"high","metadata":{"k":"v"},"session_id":"s"}`
	q, err := decodeChat([]byte(body), http.Header{"X-Session-Id": {"s"}})
	if err != nil {
		t.Fatal(err)
	}
	call := toolCall{ID: "c1", Name: "f", Arguments: "{}"}
	want := []message{{Role: "system", Text: "rule"}, {Role: "user", Text: "a\nb"}, {Role: "assistant", ToolCalls: []toolCall{call}}, {Role: "tool", Text: "r", ToolID: "c1"}}
	if diff := cmp.Diff(want, q.Messages); diff != "" {
		t.Errorf("messages (-want +got)\n%s", diff)
	}
	got := fmt.Sprintln(q.Stream, q.IncludeUsage, q.Timeout, q.Limits, q.Effort, string(q.Metadata), q.Session)
	if want := `true true 1.5s {67108864 40 1.5} high {"k":"v"} s` + "\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSessionsMustAgree(t *testing.T) {
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
		q, err := decodeChat([]byte(row.body), row.h)
		switch {
		case row.want == "" && err == nil:
			t.Errorf("%v: session %q, want an error", row.h, q.Session)
		case row.want != "" && (err != nil || q.Session != row.want):
			t.Errorf("%v: %v %v, want %q", row.h, q, err, row.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	print := func(body string, h http.Header) fingerprint {
		q, err := decodeChat([]byte(body), h)
		if err != nil {
			t.Fatal(err)
		}
		f, err := q.fingerprint()
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
	for _, row := range badBodies {
		if len(row.body) < 1<<12 {
			f.Add([]byte(row.body))
		}
	}
	f.Add([]byte(`{` + hello + `,"limits":{"cpu_max":2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := decodeChat(body, http.Header{})
		var e *web.Error
		switch {
		case err != nil && (!errors.As(err, &e) || e.Status != 400):
			t.Fatalf("error %v is not a 400", err)
		case err == nil:
			if q.Model == "" || len(q.Messages) == 0 {
				t.Fatalf("accepted without model or messages: %s", body)
			}
			if _, err := q.fingerprint(); err != nil {
				t.Fatal(err)
			}
			if _, _, err := buildPrompt(q.Messages, false); err != nil {
				t.Fatal(err)
			}
		}
	})
}
