package openai

import (
	"strings"
	"testing"

	"penstock/server/dialect"
	"penstock/server/web"
)

// Histories as stock clients send them, each with what reaches the CLI.
func TestPrompt_Histories(t *testing.T) {
	const image = `{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}`
	for _, row := range []struct {
		name, messages string
		resumed        bool
		want           string // a part of the prompt; of the error after "!", of what goes with the prompt after "+"
	}{
		{"parts have a break between them", `{"role":"user","content":[{"type":"text","text":"look at"},{"type":"text","text":"this\n"},{"type":"text","text":""},{"type":"text","text":"now"}]}`, false, "look at\nthis\nnow"},
		{"arguments as an object", `{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"a": [1, "x"]}}}]},{"role":"user","content":"u"}`, false, `<call id="1" name="f">{"a":[1,"x"]}</call>`},
		{"arguments null", `{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":null}}]},{"role":"user","content":"u"}`, false, `<call id="1" name="f"></call>`},
		{"custom call", `{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"custom","custom":{"name":"patch","input":"*** a"}}]},{"role":"user","content":"u"}`, false, `<call id="1" name="patch">*** a</call>`},
		{"legacy call", `{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"}`, false, "<call name=\"f\">{}</call>\n</message>\n\n<message role=\"tool\" name=\"f\">\nr\n"},
		{"tool content null", `{"role":"user","content":"u"},{"role":"tool","tool_call_id":"1","content":null}`, false, "<message role=\"tool\" id=\"1\">\n\n</message>"},
		{"tool without content", `{"role":"user","content":"u"},{"role":"tool","tool_call_id":"1"}`, false, "<message role=\"tool\" id=\"1\">"},
		{"empty assistant", `{"role":"user","content":"u"},{"role":"assistant"},{"role":"user","content":"v"}`, false, "<message role=\"assistant\">\n\n</message>"},
		{"names", `{"role":"user","name":"Ann \"A\"","content":"u"},{"role":"user","name":"Bo","content":"v"}`, false, "<message role=\"user\" name=\"Ann 'A'\">\nu\n</message>\n\n<message role=\"user\" name=\"Bo\">"},
		{"one user with a name", `{"role":"user","name":"Ann","content":"u"}`, false, "u"},
		{"refusal part", `{"role":"assistant","content":[{"type":"refusal","refusal":"I won't"}]},{"role":"user","content":"u"}`, false, "I won't"},
		{"refusal", `{"role":"assistant","content":null,"refusal":"I won't"},{"role":"user","content":"u"}`, false, "I won't"},
		{"thinking", `{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"a"}]},{"role":"user","content":"u"}`, false, "<message role=\"assistant\">\na\n</message>"},
		{"image in the last turn", `{"role":"user","content":[{"type":"text","text":"a"},` + image + `]}`, false, "+messages[0].content[1].image_url.url"},
		{"image in an earlier turn of a new session", `{"role":"user","content":[` + image + `]},{"role":"assistant","content":"a"},{"role":"user","content":"u"}`, false, "[image_url: left out here]\n</message>"},
		{"image in an earlier turn of a resumed one", `{"role":"user","content":[` + image + `]},{"role":"assistant","content":[{"type":"audio"}]},{"role":"user","content":"u"}`, true, "u"},
		{"image in the last turn of a resumed one", `{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":[` + image + `]}`, true, "+messages[2].content[0].image_url.url"},
		{"kept file in the last turn", `{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}`, false, "!messages[0].content[0].file.file_id"},
		{"kept file in an earlier turn", `{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]},{"role":"assistant","content":"a"},{"role":"user","content":"u"}`, false, "[file: left out here]\n</message>"},
		{"image that is nowhere", `{"role":"user","content":[{"type":"image_url"}]}`, false, "!messages[0].content[0].image_url"},
		{"image that is a number", `{"role":"user","content":[{"type":"image_url","image_url":{"url":7}}]}`, false, "!messages[0].content[0].image_url.url"},
		{"image in system text", `{"role":"system","content":[` + image + `]},{"role":"assistant","content":"a"},{"role":"user","content":"u"}`, true, "!messages[0].content[0]"},
		{"thinking of a user", `{"role":"user","content":[{"type":"thinking","thinking":"hm"}]}`, false, "!messages[0].content[0]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			q, err := DecodeChat([]byte(`{"model":"m","messages":[`+row.messages+`]}`), nil)
			if err != nil {
				t.Fatal(err)
			}
			turn, err := dialect.Prompt(q.Messages, row.resumed)
			if at, ok := strings.CutPrefix(row.want, "+"); ok {
				if err != nil || len(turn.Parts) != 1 || turn.Parts[0].Where != at || string(turn.Parts[0].Data) != `"data:image/png;base64,AA=="` {
					t.Errorf("%+v %v", turn.Parts, err)
				}
				return
			}
			param, fails := strings.CutPrefix(row.want, "!")
			if fails && (err == nil || web.AsError(err).Status != 400 || web.AsError(err).Param != param) || !fails && (err != nil || !strings.Contains(turn.Prompt, row.want)) {
				t.Errorf("%q, %v; want %q", turn.Prompt, err, row.want)
			}
		})
	}
}
