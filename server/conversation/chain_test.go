package conversation

import (
	"net/http"
	"testing"

	"penstock/server/anthropic"
	"penstock/server/dialect"
	"penstock/server/openai"
)

// A client sends an answer again in as many pieces as it has had, with the agent's own tools or
// without; what the next turn goes on from is the answer's text.
func TestChain_OfAnAnswer(t *testing.T) {
	const asked, call = `{"role":"user","content":"q"}`, `{"type":"mcp_tool_use","id":"m","name":"f","server_name":"s","input":{}},{"type":"mcp_tool_result","tool_use_id":"m","content":[{"type":"text","text":"r"}]}`
	messages := func(blocks string) []dialect.Message {
		return decoded(t, anthropic.DecodeMessages, `{"model":"m","messages":[`+asked+`,{"role":"assistant","content":[`+blocks+`]},{"role":"user","content":"next"}]}`)
	}
	responses := func(items string) []dialect.Message {
		return decoded(t, openai.DecodeResponses, `{"model":"m","input":[`+asked+`,`+items+`{"role":"user","content":"next"}]}`)
	}
	first := ChainOf("", decoded(t, openai.DecodeChat, `{"model":"m","messages":[`+asked+`]}`))
	for name, row := range map[string]struct {
		messages []dialect.Message
		answer   string
	}{
		"blocks":            {messages(`{"type":"thinking","thinking":"hm"},{"type":"text","text":"one "},` + call + `,{"type":"text","text":"two"}`), "one two"},
		"texts alone":       {messages(`{"type":"text","text":"one "},{"type":"text","text":"two"}`), "one two"},
		"a tool at the end": {messages(`{"type":"text","text":"one"},` + call), "one"},
		"a tool alone":      {messages(call), ""},
		"items":             {responses(`{"type":"reasoning","summary":[]},{"role":"assistant","content":"one "},{"type":"mcp_call","id":"m","name":"f","server_label":"s","arguments":"{}","output":"r"},{"role":"assistant","content":[{"type":"output_text","text":"two"}]},`), "one two"},
	} {
		before, _ := Split(row.messages)
		want := first.and(dialect.Message{Role: dialect.Assistant, Text: row.answer})
		if ChainOf("", before) != want {
			t.Errorf("%s: another chain than that of the answer: %+v", name, before)
		}
		if other := first.and(dialect.Message{Role: dialect.Assistant, Text: row.answer + "!"}); ChainOf("", before) == other {
			t.Errorf("%s: the chain of another answer", name)
		}
		turn, err := dialect.Prompt(row.messages, true)
		if err != nil || turn.Prompt != "next" {
			t.Errorf("%s: the session is told %q, %v", name, turn.Prompt, err)
		}
	}
}

func decoded(t *testing.T, decode func([]byte, http.Header) (*dialect.Request, error), body string) []dialect.Message {
	t.Helper()
	q, err := decode([]byte(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}
