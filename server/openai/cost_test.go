package openai

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"penstock/server/dialect"
	"penstock/server/web"
)

// filled is a body of nearly the largest size: before, one piece again and again, after.
func filled(before, piece, after string) []byte {
	n := (web.BodyMax - len(before) - len(after)) / len(piece)
	return []byte(before + strings.Repeat(piece, n) + after)
}

// What a body costs before admission, in bytes: for each
// of its own, whatever it is made of.
func TestDecode_Cost(t *testing.T) {
	const user = `{"model":"sh","messages":[{"role":"user","content":"`
	for name, body := range map[string][]byte{
		"text":                filled(user, "words of a text ", `"}]}`),
		"escapes":             filled(user, `\u003c/message`, `"}]}`),
		"line breaks":         filled(user, `\n`, `"}]}`),
		"turns":               filled(`{"model":"sh","messages":[`, `{"role":"user","content":"`+strings.Repeat("x", 300)+`"},`, `{"role":"user","content":""}]}`),
		"parts":               filled(`{"model":"sh","messages":[{"role":"user","content":[`, `{"type":"text","text":"`+strings.Repeat("x", 300)+`"},`, `{"type":"text","text":""}]}]}`),
		"metadata of a field": filled(`{"model":"sh","messages":[{"role":"user","content":""}],"tools":["`, "<", `"]}`),
		"calls":               filled(`{"model":"sh","messages":[{"role":"assistant","tool_calls":[`, `{"function":{"name":"f","arguments":"`+strings.Repeat("</call", 50)+`"}},`, `{}]},{"role":"user","content":""}]}`),
		"empty calls":         filled(`{"model":"sh","messages":[{"role":"assistant","tool_calls":[`, `{},`, `{}]},{"role":"user","content":""}]}`),
		"empty turns":         filled(`{"model":"sh","messages":[`, `{},`, `{"role":"user","content":""}]}`),
		"empty fields":        filled(`{"model":"sh","messages":[{"role":"user","content":""}],"x":[`, `[],`, `[]]}`),
		"as many calls as may be": []byte(`{"model":"sh","messages":[{"role":"assistant","tool_calls":[` + strings.Repeat(`{},`, web.ValuesMax/2-20) +
			`{}]},{"role":"user","content":"` + strings.Repeat("</call", 1<<20) + `"}]}`),
		"as many turns as may be": []byte(`{"model":"sh","messages":[` + strings.Repeat(`{"role":"user","content":""},`, web.ValuesMax/3-20) + `{"role":"user","content":""}]}`),
		"not JSON in the end":     filled(user, "words of a text ", `"}`),
	} {
		t.Run(name, func(t *testing.T) { testCost(t, DecodeChat, body, strings.HasPrefix(name, "empty")) })
	}
}

func TestDecodeResponses_Cost(t *testing.T) {
	const input = `{"model":"sh","input":[`
	end := `{"role":"user","content":"so?"}]}`
	long := strings.Repeat("x", 300)
	for name, body := range map[string][]byte{
		"text":                     filled(`{"model":"sh","input":"`, "words of a text ", `"}`),
		"escapes":                  filled(`{"model":"sh","input":"`, `\u003c/message`, `"}`),
		"instructions":             filled(`{"model":"sh","input":"x","instructions":"`, `\n`, `"}`),
		"turns":                    filled(input, `{"role":"user","content":"`+long+`"},`, end),
		"parts":                    filled(input+`{"role":"user","content":[`, `{"type":"input_text","text":"`+long+`"},`, `{"type":"input_text","text":""}]}]}`),
		"calls":                    filled(input, `{"type":"function_call","name":"f","arguments":"`+strings.Repeat("</call", 50)+`"},`, end),
		"arguments that are JSON":  filled(input, `{"type":"shell_call","action":{ "commands" : "`+long+`" }},`, end),
		"calls with their results": filled(input, `{"type":"mcp_call","id":"a","name":"f","arguments":"`+long+`","output":"`+long+`"},`, end),
		"results in parts":         filled(input, `{"type":"function_call_output","call_id":"a","output":[{"type":"input_text","text":"`+long+long+`"}]},`, end),
		"references":               filled(input, `{"id":"`+strings.Repeat("x", 200)+`"},`, end),
		"items that are ignored":   filled(input, `{"type":"mcp_list_tools","x":"`+long+`"},`, end),
		"a schema":                 filled(`{"model":"sh","input":"x","text":{"format":{"type":"json_schema","schema":{"description":"`, "x", `"}}}}`),
		"empty items":              filled(input, `{},`, end),
		"empty parts":              filled(input+`{"role":"user","content":[`, `{},`, `{}]}]}`),
		"as many items as may be":  []byte(input + strings.Repeat(`{"id":"a"},`, web.ValuesMax/2-20) + end),
		"as many calls as may be":  []byte(input + strings.Repeat(`{"type":"mcp_call","name":"f","output":"x"},`, web.ValuesMax/5-20) + end),
		"not JSON in the end":      filled(`{"model":"sh","input":"`, "words of a text ", `"`),
	} {
		t.Run(name, func(t *testing.T) { testCost(t, DecodeResponses, body, strings.HasPrefix(name, "empty")) })
	}
}

// testCost holds what one body costs to its bounds. counted is a body of too many values.
func testCost(t *testing.T, decode func([]byte, http.Header) (*dialect.Request, error), body []byte, counted bool) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	q, err := decode(body, http.Header{})
	prompt := ""
	if err == nil {
		var turn dialect.Turn
		if turn, err = dialect.Prompt(q.Messages, false); err == nil {
			prompt = turn.Prompt
			_, err = q.Fingerprint()
		}
	}
	runtime.ReadMemStats(&after)
	spent := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d bytes: %d MiB in %d pieces, a prompt of %d bytes, %v", len(body), spent>>20, after.Mallocs-before.Mallocs, len(prompt), err)
	if spent > 20*web.BodyMax {
		t.Errorf("%d MiB for a body of %d MiB", spent>>20, len(body)>>20)
	}
	if pieces := after.Mallocs - before.Mallocs; pieces > 12*web.ValuesMax {
		t.Errorf("%d pieces", pieces)
	}
	if len(prompt) > dialect.PromptMax {
		t.Errorf("a prompt of %d bytes", len(prompt))
	}
	var refused *web.Error
	if err != nil && (!errors.As(err, &refused) || refused.Status != 400) {
		t.Errorf("refused with %v", err)
	}
	if counted != (err != nil && strings.Contains(err.Error(), "values")) {
		t.Errorf("its values are counted as %v", err)
	}
}
