package openapitest

import "strings"

const hello = `"model":"claude","messages":[{"role":"user","content":"hi"}]`

// BadBody is the body of a chat request that is refused whole.
type BadBody struct {
	Name, Body, Param string
	Status            int
}

// BadBodies are held against the decoder and, over the wire, against the daemon.
func BadBodies() []BadBody {
	return []BadBody{
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
}
