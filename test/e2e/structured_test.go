package e2e

import (
	"strings"
	"testing"

	"penstock/test/daemon"
)

// ada is what the scripted model is made to answer.
const ada = `{"name":"Ada","age":36}`

func personFormat(stream bool, session string) map[string]any {
	text, number := map[string]any{"type": "string"}, map[string]any{"type": "integer"}
	return map[string]any{"stream": stream, "session_id": session, "response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{
		"name": "person", "strict": true, "schema": map[string]any{
			"type": "object", "properties": map[string]any{"name": text, "age": number},
			"required": []string{"name", "age"}, "additionalProperties": false,
		},
	}}}
}

// modelSays are the markers for a model that answers first, and with then when it is asked again. claude's
// model answers by a tool.
func modelSays(cli, first, then string) string {
	if cli == "claude" {
		prompt := "SCN=tool CALL{{StructuredOutput " + first + "}}"
		if then != "" {
			prompt += " CALL{{StructuredOutput " + then + "}}"
		}
		return prompt
	}
	prompt := "SCN=only SAY{{" + first + "}}"
	if then != "" {
		prompt += " THEN{{" + then + "}}"
	}
	return prompt
}

// Each CLI's answer is the JSON alone, at once or when it is asked a second time, or a
// failure; and its session goes on after that.
func TestStructuredAnswer(t *testing.T) {
	w := begin(t, "")
	for _, cli := range three() {
		for name, row := range map[string]struct {
			prompt, text, code string
			stream             bool
		}{
			"valid":  {modelSays(cli, ada, ""), ada, "", false},
			"mended": {modelSays(cli, `{"name":"Ada"}`, ada), ada, "", true},
			"never":  {"SCN=only SAY{{no JSON from me}}", "", "invalid_output", true},
		} {
			t.Run(cli+"/"+name, func(t *testing.T) {
				session := "structured-" + cli + "-" + name
				a, err := w.Chat(bounded(t, long), daemon.Body(cli, row.prompt+" REMEMBER{{heron}}", personFormat(row.stream, session)), nil)
				if err != nil {
					t.Fatal(err)
				}
				code := ""
				if a.Error != nil {
					code = a.Error.Code
				}
				if a.Text != row.text || code != row.code || code == "" && a.Finish != "stop" {
					t.Errorf("text %q, finish %q, error %+v, notices %q", a.Text, a.Finish, a.Error, a.Comments)
				}
				if name != "mended" {
					return
				}
				free, err := w.Chat(bounded(t, long), daemon.Body(cli, "SCN=text N=1 RECALL", map[string]any{"session_id": session}), nil)
				if err != nil {
					t.Fatal(err)
				}
				if free.Error != nil || free.Finish != "stop" || !strings.HasPrefix(free.Text, "tok0 recalled: heron") {
					t.Errorf("the next turn: %q, finish %q, error %+v", free.Text, free.Finish, free.Error)
				}
			})
		}
	}
}
