package anthropic

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/internal/openapitest"
	"penstock/server/dialect"
	"penstock/server/web"
)

const hello = `"model":"claude","max_tokens":100,"messages":[{"role":"user","content":"hi"}]`

func TestDecode_Refused(t *testing.T) {
	for _, row := range openapitest.BadMessages() {
		t.Run(row.Name, func(t *testing.T) {
			_, err := DecodeMessages([]byte(row.Body), http.Header{})
			var e *web.Error
			if !errors.As(err, &e) || e.Status != row.Status || e.Param != row.Param {
				t.Errorf("%+v, want a %d of %q", err, row.Status, row.Param)
			}
		})
	}
}

// What is none of the blocks that are taken is refused where its turn is sent; an earlier one has a
// note in its place.
func TestDecode_NotSent(t *testing.T) {
	for block, param := range map[string]string{
		`{"type":"video"}`:                                        "messages[0].content[0].type",
		`{"type":"thinking","thinking":"hm"}`:                     "messages[0].content[0].type",
		`{"type":"image"}`:                                        "messages[0].content[0].source",
		`{"type":"image","source":{"type":"file","file_id":"f"}}`: "messages[0].content[0].source.type",
		`{"type":"document","source":{"type":"base64"}}`:          "messages[0].content[0].source.data",
	} {
		turn := `{"role":"user","content":[` + block + `]}`
		for after, want := range map[string]string{``: param, `,{"role":"assistant","content":"a"},{"role":"user","content":"u"}`: ""} {
			q, err := DecodeMessages([]byte(`{"model":"m","messages":[`+turn+after+`]}`), http.Header{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = dialect.Prompt(q.Messages, false)
			got := ""
			if e := (*web.Error)(nil); errors.As(err, &e) {
				got = e.Param
			}
			if got != want || !strings.HasSuffix(q.Messages[0].Text, ": left out here]") {
				t.Errorf("%s, then %q: %v, want one of %q; %+v", block, after, err, want, q.Messages[0])
			}
		}
	}
}

// sameLack holds what can't be sent against another by there being something.
var sameLack = cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) })

// Claude Code's request, shortened, and others that stock clients send.
func TestDecode_Accepted(t *testing.T) {
	for _, row := range []struct {
		name, body string
		want       []dialect.Message
		ignored    []string
	}{
		{"plain", `{` + hello + `}`, []dialect.Message{{Role: "user", Text: "hi"}}, []string{"max_tokens"}},
		{"Claude Code", `{"model":"claude","max_tokens":32000,"stream":true,"system":[{"type":"text","text":"s1","cache_control":{"type":"ephemeral"}},{"type":"text","text":"s2"}],
			"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]},{"role":"system","content":"note"}],
			"tools":[{"name":"Bash","input_schema":{}}],"tool_choice":{"type":"auto"},"thinking":{"type":"adaptive"},"metadata":{"user_id":"u"},"context_management":{"edits":[]}}`,
			[]dialect.Message{{Role: "system", Text: "s1\ns2"}, {Role: "user", Text: "a\nb"}, {Role: "system", Text: "note"}},
			[]string{"context_management", "max_tokens", "thinking", "tools"}},
		{"a history with tools", `{"model":"m","messages":[{"role":"user","content":"q"},
			{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"redacted_thinking","data":"x"},{"type":"text","text":"I look"},{"type":"tool_use","id":"t1","name":"f","input":{"a": 1}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"r"}]},{"type":"tool_result","tool_use_id":"t2"},{"type":"text","text":"and now?"}]}]}`,
			[]dialect.Message{{Role: "user", Text: "q"}, {Role: "assistant", Text: "I look", ToolCalls: []dialect.ToolCall{{ID: "t1", Name: "f", Arguments: `{"a":1}`}}},
				{Role: "tool", ToolID: "t1", Text: "r"}, {Role: "tool", ToolID: "t2"}, {Role: "user", Text: "and now?"}}, nil},
		{"our own blocks", `{"model":"m","messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"one"},
			{"type":"mcp_tool_use","id":"m1","name":"Bash","server_name":"pi","input":{}},{"type":"mcp_tool_result","tool_use_id":"m1","is_error":false,"content":[{"type":"text","text":"out"}]},{"type":"text","text":"\n\ntwo"}]},{"role":"user","content":"u"}]}`,
			[]dialect.Message{{Role: "assistant", Text: "one"}, {Role: "assistant", Own: true, ToolCalls: []dialect.ToolCall{{ID: "m1", Name: "Bash", Arguments: "{}"}}},
				{Role: "tool", Own: true, ToolID: "m1", Text: "out"}, {Role: "assistant", Text: "\n\ntwo"}, {Role: "user", Text: "u"}}, nil},
		{"a search of a server's", `{"model":"m","messages":[{"role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","url":"x"}]}]},{"role":"user","content":"u"}]}`,
			[]dialect.Message{{Role: "assistant", ToolCalls: []dialect.ToolCall{{ID: "s", Name: "web_search", Arguments: "{}"}}}, {Role: "tool", ToolID: "s", Text: "[web_search_result: left out here]"}, {Role: "user", Text: "u"}}, nil},
		{"Claude Code's billing", `{"model":"m","system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.37.3a3; cc_entrypoint=cli; cch=65abc;"},{"type":"text","text":"s"}],"messages":[{"role":"user","content":"u"}]}`,
			[]dialect.Message{{Role: "system", Text: "s"}, {Role: "user", Text: "u"}}, []string{"x-anthropic-billing-header"}},
		{"nothing but billing", `{"model":"m","system":"x-anthropic-billing-header: cc_version=2.1.330.636;","messages":[{"role":"user","content":"x-anthropic-billing-header: a=b;"}]}`,
			[]dialect.Message{{Role: "user", Text: "x-anthropic-billing-header: a=b;"}}, []string{"x-anthropic-billing-header"}},
		{"tools that come and go", `{"model":"m","messages":[{"role":"user","content":"u"},{"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_reference","name":"f"}}]},
			{"role":"system","content":[{"type":"text","text":"s"},{"type":"tool_removal","tool":{"type":"tool_reference","name":"f"}}]}]}`,
			[]dialect.Message{{Role: "user", Text: "u"}, {Role: "system", Text: "s"}}, []string{"messages[1].content[0]", "messages[2].content[1]"}},
		{"what isn't taken, in earlier turns", `{"model":"m","messages":[{"role":"user","content":[{"type":"container_upload","file_id":"f"},{"type":"text","text":"u"},{"type":"image","source":{"type":"file","file_id":"f"}}]},
			{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"document"}]}]},{"role":"assistant","content":"a"},{"role":"user","content":"u"}]}`,
			[]dialect.Message{{Role: "user", Text: "[container_upload: left out here]\nu\n[image: left out here]", Unsupported: errors.New("x")},
				{Role: "assistant", ToolCalls: []dialect.ToolCall{{ID: "t", Name: "f", Arguments: "{}"}}},
				{Role: "tool", ToolID: "t", Text: "[document: left out here]", Unsupported: errors.New("x")}, {Role: "assistant", Text: "a"}, {Role: "user", Text: "u"}}, nil},
		{"a turn of nothing", `{"model":"m","messages":[{"role":"assistant","content":null},{"role":"user","content":"u"}]}`, []dialect.Message{{Role: "assistant"}, {Role: "user", Text: "u"}}, nil},
		{"an empty turn", `{"model":"m","messages":[{"role":"assistant","content":[]},{"role":"user","content":""}]}`, []dialect.Message{{Role: "assistant"}, {Role: "user"}}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			q, err := DecodeMessages([]byte(row.body), http.Header{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, q.Messages, sameLack); diff != "" {
				t.Errorf("messages (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(row.ignored, q.Ignored); diff != "" {
				t.Errorf("ignored (-want +got)\n%s", diff)
			}
			if _, err := dialect.Prompt(q.Messages, false); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecode_Values(t *testing.T) {
	q, err := DecodeMessages([]byte(`{`+hello+`,"stream":true,"metadata":{"user_id":"ann"},"output_config":{"effort":"high","format":{"type":"json_schema","schema":{"type":"object"}}}}`), nil)
	if err != nil || !q.Stream || q.Person != "ann" || q.Effort != "high" || string(q.Schema) != `{"type":"object"}` {
		t.Errorf("%+v %v", q, err)
	}
}

func TestCountTokens(t *testing.T) {
	if n := CountTokens([]dialect.Message{{Text: "12345"}, {Text: ""}}); n != 4+2+4 {
		t.Errorf("%d", n)
	}
}

func FuzzDecodeMessages(f *testing.F) {
	for _, row := range openapitest.BadMessages() {
		f.Add([]byte(row.Body))
	}
	f.Add([]byte(`{` + hello + `,"system":[{"type":"text","text":"s"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := DecodeMessages(body, http.Header{})
		var e *web.Error
		switch {
		case err != nil && (!errors.As(err, &e) || e.Status != http.StatusBadRequest):
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

// What a body costs before admission, as in package openai.
func TestDecode_Cost(t *testing.T) {
	filled := func(before, piece, after string) []byte {
		return []byte(before + strings.Repeat(piece, (web.BodyMax-len(before)-len(after))/len(piece)) + after)
	}
	many := web.ValuesMax/3 - 20
	for name, body := range map[string][]byte{
		"text":    filled(`{"model":"sh","messages":[{"role":"user","content":"`, "words of a text ", `"}]}`),
		"blocks":  filled(`{"model":"sh","messages":[{"role":"user","content":[`, `{"type":"text","text":"`+strings.Repeat("x", 300)+`"},`, `{"type":"text","text":""}]}]}`),
		"results": []byte(`{"model":"sh","messages":[{"role":"user","content":[` + strings.Repeat(`{"type":"tool_result"},`, many) + `{"type":"text","text":""}]}]}`),
		"calls":   []byte(`{"model":"sh","messages":[{"role":"assistant","content":[` + strings.Repeat(`{"type":"mcp_tool_use"},`, many) + `{"type":"text","text":""}]},{"role":"user","content":"u"}]}`),
		"turns":   []byte(`{"model":"sh","messages":[` + strings.Repeat(`{"role":"user","content":""},`, many) + `{"role":"user","content":"u"}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			q, err := DecodeMessages(body, http.Header{})
			if err == nil {
				if _, err = dialect.Prompt(q.Messages, false); err == nil {
					_, err = q.Fingerprint()
				}
			}
			runtime.ReadMemStats(&after)
			spent, pieces := after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs
			t.Logf("%d bytes: %d MiB in %d pieces, %v", len(body), spent>>20, pieces, err)
			if err != nil || spent > 20*web.BodyMax || pieces > 12*web.ValuesMax {
				t.Errorf("%d MiB in %d pieces for a body of %d MiB: %v", spent>>20, pieces, len(body)>>20, err)
			}
		})
	}
}
