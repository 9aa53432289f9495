package openai

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"penstock/internal/openapitest"
	"penstock/server/dialect"
	"penstock/server/media"
	"penstock/server/web"
)

func TestDecodeResponses_Refused(t *testing.T) {
	for _, row := range openapitest.BadResponses() {
		t.Run(row.Name, func(t *testing.T) {
			_, err := DecodeResponses([]byte(row.Body), http.Header{})
			e, ok := errors.AsType[*web.Error](err)
			if !ok {
				t.Fatalf("error %v, want a web.Error", err)
			}
			if e.Status != row.Status || e.Param != row.Param || e.Code != "invalid_request" {
				t.Errorf("status %d code %s param %q, want %d invalid_request %q (%s)", e.Status, e.Code, e.Param, row.Status, row.Param, e.Message)
			}
		})
	}
}

func TestDecodeResponses_Accepted(t *testing.T) {
	for _, row := range []struct {
		name, fields string
		ignored      []string
	}{
		{"plain", ``, nil},
		{"legal nothings", `,"n":1,"stop":null,"top_logprobs":0,"tool_choice":"auto","text":{"format":{"type":"text"}},"conversation":null,"background":false`, nil},
		{"ignored", `,"temperature":0,"max_output_tokens":5,"tools":[{"type":"function","name":"f"}],"user":"u","service_tier":"flex","truncation":"auto","stream_options":{"include_obfuscation":false}`,
			[]string{"max_output_tokens", "service_tier", "stream_options", "temperature", "tools", "truncation", "user"}},
		{"members", `,"text":{"verbosity":"low"},"reasoning":{"summary":"auto","effort":"low","context":null,"mode":"x"}`, []string{"reasoning.mode", "text.verbosity"}},
		{"some tools, if it likes", `,"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[]}`, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			q, err := DecodeResponses([]byte(`{"model":"claude","input":"hi"`+row.fields+`}`), http.Header{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.ignored, q.Ignored); diff != "" {
				t.Errorf("ignored (-want +got)\n%s", diff)
			}
		})
	}
}

// Each kind of item, as a turn of a conversation.
func TestDecodeResponses_Items(t *testing.T) {
	call := func(id, name, arguments string) dialect.Message {
		return dialect.Message{Role: "assistant", ToolCalls: []dialect.ToolCall{{ID: id, Name: name, Arguments: arguments}}}
	}
	own := func(m dialect.Message) dialect.Message { m.Own = true; return m }
	result := func(id, text string) dialect.Message { return dialect.Message{Role: "tool", ToolID: id, Text: text} }
	for _, row := range []struct {
		item string
		want []dialect.Message
	}{
		{`{"role":"user","content":"hi"}`, []dialect.Message{{Role: "user", Text: "hi"}}},
		{`{"type":"message","role":"developer","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]}`, []dialect.Message{{Role: "system", Text: "a\nb"}}},
		{`{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]},{"type":"refusal","refusal":"no"},{"type":"reasoning_text","text":"hm"}]}`, []dialect.Message{{Role: "assistant", Text: "a\nno"}}},
		{`{"role":"user","content":[{"type":"input_text","text":"see"},{"type":"input_audio","input_audio":{}}]}`, []dialect.Message{{Role: "user", Text: "see\n[input_audio: left out here]", Unsupported: errors.New("x")}}},
		{`{"type":"agent_message","author":"/root","recipient":"/a","content":[{"type":"input_text","text":"go"}]}`, []dialect.Message{{Role: "user", Name: "/root", Text: "go"}}},
		{`{"type":"item_reference","id":"msg0_run_1"}`, []dialect.Message{{Role: "assistant", Ref: "msg0_run_1", Where: "input[0].id"}}},
		{`{"type":null,"id":"msg0_run_1"}`, []dialect.Message{{Role: "assistant", Ref: "msg0_run_1", Where: "input[0].id"}}},
		{`{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"x"}`, nil},
		{`{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"a\":1}","namespace":"n"}`, []dialect.Message{call("c1", "f", `{"a":1}`)}},
		{`{"type":"function_call","call_id":"c1","name":"f","arguments":{"a" : 1}}`, []dialect.Message{call("c1", "f", `{"a":1}`)}},
		{`{"type":"function_call_output","call_id":"c1","output":"r"}`, []dialect.Message{result("c1", "r")}},
		{`{"type":"function_call_output","call_id":"c1","output":[{"type":"input_text","text":"r"},{"type":"output_text","text":"s"}]}`, []dialect.Message{result("c1", "r\ns")}},
		{`{"type":"custom_tool_call","id":"ctc_1","call_id":"c1","name":"grep","input":"-r x"}`, []dialect.Message{call("c1", "grep", "-r x")}},
		{`{"type":"custom_tool_call_output","call_id":"c1","output":"none"}`, []dialect.Message{result("c1", "none")}},
		{`{"type":"mcp_call","id":"mcp1_run_1","server_label":"claude","name":"Bash","arguments":"{}","output":"a","error":null,"approval_request_id":null,"status":"completed"}`, []dialect.Message{own(call("mcp1_run_1", "Bash", "{}")), own(result("mcp1_run_1", "a"))}},
		{`{"type":"mcp_call","id":"m","name":"Bash","arguments":"{}","output":null,"error":"gone"}`, []dialect.Message{own(call("m", "Bash", "{}")), own(result("m", "gone"))}},
		{`{"type":"mcp_call","id":"m","name":"Bash","arguments":"{}","status":"incomplete"}`, []dialect.Message{own(call("m", "Bash", "{}"))}},
		{`{"type":"mcp_approval_request","id":"a1","server_label":"s","name":"Bash","arguments":"{}"}`, []dialect.Message{call("a1", "Bash", "{}")}},
		{`{"type":"mcp_approval_response","approval_request_id":"a1","approve":true}`, []dialect.Message{result("a1", "true")}},
		{`{"type":"local_shell_call","id":"l1","call_id":"c1","status":"completed","action":{"type":"exec","command":["ls"]}}`, []dialect.Message{call("c1", "local_shell", `{"type":"exec","command":["ls"]}`)}},
		{`{"type":"local_shell_call_output","id":"l1","output":"a"}`, []dialect.Message{result("l1", "a")}},
		{`{"type":"shell_call","id":"s1","call_id":"c1","action":{"commands":["ls"]}}`, []dialect.Message{call("c1", "shell", `{"commands":["ls"]}`)}},
		{`{"type":"shell_call_output","call_id":"c1","output":[{"stdout":"a","stderr":"","outcome":{"type":"exit","exit_code":0}}]}`, []dialect.Message{result("c1", `[{"stdout":"a","stderr":"","outcome":{"type":"exit","exit_code":0}}]`)}},
		{`{"type":"apply_patch_call","call_id":"c1","operation":{"type":"delete_file","path":"a"}}`, []dialect.Message{call("c1", "apply_patch", `{"type":"delete_file","path":"a"}`)}},
		{`{"type":"apply_patch_call_output","call_id":"c1","status":"failed"}`, []dialect.Message{result("c1", "failed")}},
		{`{"type":"web_search_call","id":"w1","status":"completed","action":{"type":"search","query":"x"}}`, []dialect.Message{call("w1", "web_search", `{"type":"search","query":"x"}`)}},
		{`{"type":"file_search_call","id":"f1","queries":["x"],"results":null}`, []dialect.Message{call("f1", "file_search", `["x"]`)}},
		{`{"type":"code_interpreter_call","id":"i1","code":"1+1","outputs":[{"type":"logs","logs":"2"}]}`, []dialect.Message{call("i1", "code_interpreter", "1+1"), result("i1", `[{"type":"logs","logs":"2"}]`)}},
		{`{"type":"computer_call","id":"cu1","call_id":"c1","action":{"type":"screenshot"}}`, []dialect.Message{call("c1", "computer", `{"type":"screenshot"}`)}},
		{`{"type":"computer_call_output","call_id":"c1","output":{"type":"computer_screenshot","image_url":"data:,x"}}`, []dialect.Message{{Role: "tool", ToolID: "c1", Parts: []dialect.Part{{Source: media.Source{Where: "input[0].output[0].image_url", Data: json.RawMessage(`"data:,x"`)}, Note: "[computer_screenshot: left out here]"}}}}},
		{`{"role":"user","content":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"data:,x","detail":"auto"},{"type":"input_text","text":"and"},{"type":"input_file","filename":"a.txt","file_data":"YQ=="},{"type":"input_file","file_url":"https://a/b"}]}`,
			[]dialect.Message{{Role: "user", Text: "see\nand", Parts: []dialect.Part{
				{Source: media.Source{Where: "input[0].content[1].image_url", Data: json.RawMessage(`"data:,x"`)}, Note: "[input_image: left out here]", At: 3},
				{Source: media.Source{Kind: media.File, Name: "a.txt", Where: "input[0].content[3].file_data", Data: json.RawMessage(`"YQ=="`)}, Note: "[input_file: left out here]", At: 7},
				{Source: media.Source{Kind: media.File, Where: "input[0].content[4].file_url", Data: json.RawMessage(`"https://a/b"`)}, Note: "[input_file: left out here]", At: 7},
			}}}},
		{`{"role":"user","content":[{"type":"input_image","image_url":null,"file_id":"file-1"}]}`, []dialect.Message{{Role: "user", Text: "[input_image: left out here]", Unsupported: errors.New("x")}}},
		{`{"type":"image_generation_call","id":"g1","result":"iVBOR"}`, []dialect.Message{call("g1", "image_generation", "")}},
		{`{"type":"tool_search_call","id":"t1","call_id":null,"execution":"server","arguments":{"q":"x"}}`, []dialect.Message{call("t1", "tool_search", `{"q":"x"}`)}},
		{`{"type":"program","id":"p1","call_id":"c1","code":"x","fingerprint":"f"}`, []dialect.Message{call("c1", "program", "x")}},
		{`{"type":"program_output","call_id":"c1","result":"y","status":"completed"}`, []dialect.Message{result("c1", "y")}},
		{`{"type":"mcp_list_tools","id":"m1","server_label":"s","tools":[]}`, nil},
		{`{"type":"tool_search_output","tools":[]}`, nil},
		{`{"type":"additional_tools","role":"developer","tools":[]}`, nil},
		{`{"type":"configuration_update","reasoning":{"effort":"low"}}`, nil},
	} {
		t.Run(row.item, func(t *testing.T) {
			q, err := DecodeResponses([]byte(`{"model":"claude","input":[`+row.item+`,{"role":"user","content":"so?"}]}`), http.Header{})
			if err != nil {
				t.Fatal(err)
			}
			want := append(row.want, dialect.Message{Role: "user", Text: "so?"})
			someError := cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) })
			if diff := cmp.Diff(want, q.Messages, cmpopts.EquateEmpty(), someError); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Calls belong to the assistant's turn before them; the agent's own are apart, for a client may leave them out.
func TestDecodeResponses_Turns(t *testing.T) {
	q, err := DecodeResponses([]byte(`{"model":"claude","instructions":"brief","input":[
		{"role":"user","content":"hi"},{"type":"item_reference","id":"rs0_r"},{"type":"item_reference","id":"msg1_r"},{"type":"item_reference","id":"msg1_r"},
		{"role":"assistant","content":"look"},{"type":"reasoning","summary":[]},{"type":"function_call","call_id":"a","name":"f","arguments":"1"},{"type":"function_call","call_id":"b","name":"f","arguments":"2"},
		{"type":"function_call_output","call_id":"a","output":"x"},{"type":"mcp_call","id":"m","name":"g","arguments":"{}","output":"y"},{"type":"function_call","call_id":"c","name":"f","arguments":"3"},
		{"role":"user","content":"so?"}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []dialect.Message{
		{Role: "system", Text: "brief"}, {Role: "user", Text: "hi"},
		{Role: "assistant", Ref: "rs0_r", Where: "input[1].id"}, {Role: "assistant", Ref: "msg1_r", Where: "input[2].id"},
		{Role: "assistant", Text: "look", ToolCalls: []dialect.ToolCall{{ID: "a", Name: "f", Arguments: "1"}, {ID: "b", Name: "f", Arguments: "2"}}},
		{Role: "tool", ToolID: "a", Text: "x"},
		{Role: "assistant", Own: true, ToolCalls: []dialect.ToolCall{{ID: "m", Name: "g", Arguments: "{}"}}}, {Role: "tool", Own: true, ToolID: "m", Text: "y"},
		{Role: "assistant", ToolCalls: []dialect.ToolCall{{ID: "c", Name: "f", Arguments: "3"}}}, {Role: "user", Text: "so?"},
	}
	if diff := cmp.Diff(want, q.Messages); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDecodeResponses_Values(t *testing.T) {
	const schema = `{"type":"object","properties":{}}`
	q, err := DecodeResponses([]byte(`{"model":"claude/opus","stream":true,"background":true,"instructions":"b<e","input":"h\"i","previous_response_id":"resp_run_0",
		"reasoning":{"effort":"high","summary":"auto"},"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":`+schema+`},"verbosity":"low"},"metadata":{"k":"v"},
		"tool_choice":"none","parallel_tool_calls":false,"user":"u","safety_identifier":"s","prompt_cache_key":"p","temperature":1}`), http.Header{"X-Session-Id": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	echo := `{"background":true,"instructions":"b<e","metadata":{"k":"v"},"parallel_tool_calls":false,"previous_response_id":"resp_run_0","prompt_cache_key":"p",` +
		`"reasoning":{"effort":"high","summary":"auto"},"safety_identifier":"s","store":true,"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":` + schema + `}},"tool_choice":"none","truncation":"disabled","user":"u"}`
	want := &dialect.Request{Turns: "input",
		Model: "claude/opus", Stream: true, Background: true, Session: "x", Previous: "resp_run_0", Effort: "high", EffortField: "reasoning.effort", Person: "s",
		Schema: json.RawMessage(schema), Metadata: json.RawMessage(`{"k":"v"}`), Echo: json.RawMessage(echo),
		Messages: []dialect.Message{{Role: "system", Text: "b<e"}, {Role: "user", Text: `h"i`}},
		Ignored:  []string{"parallel_tool_calls", "prompt_cache_key", "safety_identifier", "temperature", "text.verbosity", "user"},
		Asked: &dialect.Asked{
			Echo: json.RawMessage(echo), Input: []json.RawMessage{json.RawMessage(`{"role":"user","content":"h\"i"}`)}, Previous: "resp_run_0",
			System: fmt.Sprintf("%x", sha256.Sum256([]byte("b<e"))),
		},
	}
	if diff := cmp.Diff(want, q, cmpopts.IgnoreFields(dialect.Request{}, "Fields")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	q.NoteIgnored("effort", q.EffortField)
	if !strings.Contains(strings.Join(q.Ignored, " "), "reasoning.effort") {
		t.Errorf("a backend without efforts ignores %q", q.Ignored)
	}

	q, err = DecodeResponses([]byte(`{"model":"claude","input":"hi","store":false,"text":{"format":{"type":"json_object"}}}`), nil)
	if err != nil || q.Asked != nil || !q.Discard || !q.AnyObject || !strings.Contains(string(q.Echo), `"store":false`) {
		t.Errorf("%+v %v", q, err)
	}
}

// What is said again of a request has little room, whatever was asked.
func TestDecodeResponses_EchoIsBounded(t *testing.T) {
	long := strings.Repeat("\\\"", 1<<15)
	q, err := DecodeResponses([]byte(`{"model":"claude","input":"hi","instructions":"`+long+`","user":"`+long+`","prompt_cache_key":"`+long+`","safety_identifier":"`+long+`","reasoning":{"summary":"`+long+`"},
		"metadata":{"a":"`+strings.Repeat("x", 10000)+`"},"text":{"format":{"type":"json_schema","name":"`+long+`","schema":{"description":"`+long[:1<<13]+`"}}}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(q.Echo) > 1<<10 {
		t.Errorf("%d bytes of what is too long: %s", len(q.Echo), q.Echo)
	}
	most := func(n int) string { return strings.Repeat("x", n-2) }
	q, err = DecodeResponses([]byte(`{"model":"claude","input":"hi","instructions":"`+most(echoInstructions)+`","user":"`+most(echoWord)+`","prompt_cache_key":"`+most(echoWord)+`","safety_identifier":"`+most(echoWord)+`",
		"previous_response_id":"`+most(echoWord)+`","reasoning":{"summary":"`+most(echoWord)+`","effort":"`+most(echoWord)+`"},
		"metadata":{"a":"`+strings.Repeat("x", echoMetadata-8)+`"},"text":{"format":{"type":"json_schema","name":"`+most(echoWord)+`","schema":{"title":"`+strings.Repeat("x", echoFormat-12)+`"}}}}`), nil)
	if err != nil || len(q.Echo) < 7<<10 || len(q.Echo) > 8<<10 {
		t.Errorf("%d bytes at most, %v: %s", len(q.Echo), err, q.Echo)
	}
}

func TestListInput(t *testing.T) {
	q, err := DecodeResponses([]byte(`{"model":"claude","input":[{"role":"user","content":"a"},{"type":"message","id":"msg_b","status":null,"role":"assistant","content":"b"},
		{"type":"function_call_output","call_id":"c","output":"d","id":null},{"role":"user","content":[{"type":"input_text","text":"e"}]}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	listed := ListInput(q.Asked.Input, "run_1")
	want := []string{
		`{"id":"in0_run_1","type":"message","status":"completed","role":"user","content":[{"type":"input_text","text":"a"}]}`,
		`{"id":"msg_b","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"b","annotations":[]}]}`,
		`{"id":"in2_run_1","type":"function_call_output","call_id":"c","output":"d"}`,
		`{"id":"in3_run_1","type":"message","status":"completed","role":"user","content":[{"type":"input_text","text":"e"}]}`,
	}
	if got := string(bytes.Join(asBytes(listed), []byte("\n"))); got != strings.Join(want, "\n") {
		t.Errorf("%s", got)
	}
	again, err := InputMessages(listed)
	if diff := cmp.Diff(q.Messages, again); err != nil || diff != "" {
		t.Errorf("%v (-asked +listed)\n%s", err, diff)
	}
	for _, row := range []struct {
		query string
		want  []int
		more  bool
		param string
	}{
		{"", []int{3, 2, 1, 0}, false, ""},
		{"order=asc&limit=2", []int{0, 1}, true, ""},
		{"order=asc&limit=2&after=msg_b", []int{2, 3}, false, ""},
		{"limit=1&after=in2_run_1", []int{1}, true, ""},
		{"after=in0_run_1", nil, false, ""},
		{"after=x", nil, false, "after"},
		{"limit=0", nil, false, "limit"},
		{"limit=101", nil, false, "limit"},
		{"limit=x", nil, false, "limit"},
		{"order=up", nil, false, "order"},
	} {
		query, err := url.ParseQuery(row.query)
		if err != nil {
			t.Fatal(err)
		}
		list, err := InputPage(listed, query)
		if e, _ := errors.AsType[*web.Error](err); (e != nil) != (row.param != "") || e != nil && e.Param != row.param {
			t.Errorf("%s: %v, want one of %q", row.query, err, row.param)
		}
		if row.param != "" {
			continue
		}
		if len(list.Data) != len(row.want) || list.More != row.more || (list.First == nil) != (len(row.want) == 0) || list.Object != "list" {
			t.Fatalf("%s: %+v", row.query, list)
		}
		for i, n := range row.want {
			if string(list.Data[i]) != want[n] {
				t.Errorf("%s: item %d is %s", row.query, i, list.Data[i])
			}
		}
	}
}

func asBytes(raw []json.RawMessage) (out [][]byte) {
	for _, one := range raw {
		out = append(out, one)
	}
	return out
}

// What was told comes again as history, in the words that the next CLI is told.
func TestInputMessages_OfAnAnswer(t *testing.T) {
	var whole bytes.Buffer
	s := scripted([]dialect.Step{said("look"), called(tool("1", "started")), called(tool("1", "completed")), said("done")})
	if err := (Responses{}).Whole(testAnswer()).Write(&whole, dialect.End{}, dialect.Contents{}, s.steps); err != nil {
		t.Fatal(err)
	}
	var r struct{ Output []json.RawMessage }
	if err := json.Unmarshal(whole.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	got, err := InputMessages(r.Output)
	want := []dialect.Message{
		{Role: "assistant", Text: "look"}, {Role: "assistant", Own: true, ToolCalls: []dialect.ToolCall{{ID: "mcp1_run_1", Name: "f", Arguments: "{}"}}},
		{Role: "tool", Own: true, ToolID: "mcp1_run_1", Text: "out"}, {Role: "assistant", Text: "done"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func FuzzDecodeResponses(f *testing.F) {
	for _, row := range openapitest.BadResponses() {
		f.Add([]byte(row.Body))
	}
	for _, body := range clientRequests {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := DecodeResponses(body, http.Header{})
		if err != nil {
			if e, ok := errors.AsType[*web.Error](err); !ok || e.Status != 400 {
				t.Fatalf("error %v is not a 400", err)
			}
			return
		}
		if q.Model == "" || len(q.Messages) == 0 || len(q.Echo) > 8<<10 || !json.Valid(q.Echo) || (q.Asked == nil) != q.Discard {
			t.Fatalf("accepted without model or messages, or with an odd echo %s: %s", q.Echo, body)
		}
		if decodeEcho(q.Echo).Text.Format == nil {
			t.Fatalf("echo %s", q.Echo)
		}
		if _, err := q.Fingerprint(); err != nil {
			t.Fatal(err)
		}
		if _, err := dialect.Prompt(q.Messages, false); err != nil {
			if e, ok := errors.AsType[*web.Error](err); !ok || e.Status >= 500 {
				t.Fatal(err)
			}
		}
		if q.Asked == nil {
			return
		}
		for _, item := range ListInput(q.Asked.Input, "run_1") {
			if !json.Valid(item) || listedID(item) == "" {
				t.Fatalf("item %s", item)
			}
		}
		again, err := InputMessages(ListInput(q.Asked.Input, "run_1"))
		if err != nil || len(again) > len(q.Messages) {
			t.Fatalf("%d messages of %d, %v", len(again), len(q.Messages), err)
		}
	})
}

// clientRequests are shaped as clients' are: codex, the openai SDK, Vercel's second turn by reference and without
// the store, LangChain's.
var clientRequests = []string{
	`{"model":"claude","stream":true,"input":[{"type":"message","id":"msg_1","role":"developer","content":[{"type":"input_text","text":"be brief"}]},{"type":"message","id":"msg_2","role":"user","content":[{"type":"input_text","text":"hi"}]},` +
		`{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":null},{"type":"function_call","name":"exec_command","arguments":"{\"cmd\":\"ls\"}","call_id":"call_1"},{"type":"function_call_output","call_id":"call_1","output":"a"},` +
		`{"type":"message","status":"completed","id":"msg0_run_1","role":"assistant","content":[{"type":"output_text","text":"a"}]},{"type":"message","id":"msg_3","role":"user","content":[{"type":"input_text","text":"so?"}]}],` +
		`"tools":[{"type":"function","name":"exec_command","strict":false,"parameters":{"type":"object"}},{"type":"namespace","name":"n","tools":[]},{"type":"web_search"}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"summary":"auto"},"store":false,` +
		`"include":["reasoning.encrypted_content"],"prompt_cache_key":"k","client_metadata":{"session_id":"s"}}`,
	`{"model":"claude","input":"hi","stream":true}`,
	`{"model":"claude","input":[{"role":"system","content":"be nice"},{"role":"user","content":[{"type":"input_text","text":"hi"}]},{"type":"item_reference","id":"msg0_run_1"},{"type":"item_reference","id":"mcp1_run_1"},{"role":"user","content":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}]}]}`,
	`{"model":"claude","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]},{"role":"assistant","content":[{"type":"output_text","text":"look"}],"id":"msg0_run_1"},{"role":"user","content":[{"type":"input_text","text":"so?"}]}],"store":false}`,
	`{"input":[{"type":"message","role":"user","content":"hi"},{"id":"mcp1_run_1","type":"mcp_call","server_label":"claude","name":"Bash","arguments":"{\"c\":1}","output":"1","error":null,"approval_request_id":null,"status":"completed"},{"type":"message","role":"user","content":"so?"}],"model":"claude","stream":false,"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}}}}`,
}

func TestDecodeResponses_Clients(t *testing.T) {
	for i, body := range clientRequests {
		if _, err := DecodeResponses([]byte(body), nil); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// What a router makes of Claude Code's requests: the system text of two turns is the same.
func TestDecode_Billing(t *testing.T) {
	const line = `x-anthropic-billing-header: cc_version=2.1.37.3a3; cc_entrypoint=cli; cch=65abc;\nYou are`
	chat, err := DecodeChat([]byte(`{"model":"m","messages":[{"role":"system","content":"`+line+`"},{"role":"user","content":"hi"}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := DecodeResponses([]byte(`{"model":"m","instructions":"`+line+`","input":"hi"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []dialect.Message{{Role: "system", Text: "You are"}, {Role: "user", Text: "hi"}}
	for _, q := range []*dialect.Request{chat, response} {
		if diff := cmp.Diff(want, q.Messages); diff != "" || !slices.Contains(q.Ignored, "x-anthropic-billing-header") {
			t.Errorf("ignored %q, messages (-want +got)\n%s", q.Ignored, diff)
		}
	}
	if response.Asked.System != systemHash(want) {
		t.Error("the hash of the system text is not that of what is sent")
	}
}

// An agent that would ask again at OpenAI's own word for a refusal is told another.
func TestFinished_RefusedToAnAgent(t *testing.T) {
	for agent, want := range map[bool]string{false: "content_filter", true: "refusal"} {
		r := finished(&dialect.Answer{Run: "r", Insistent: agent}, dialect.End{Finish: "content_filter"})
		if r.Status != Incomplete || r.IncompleteDetails == nil || r.IncompleteDetails.Reason != want {
			t.Errorf("agent %v: %s %+v", agent, r.Status, r.IncompleteDetails)
		}
	}
}
