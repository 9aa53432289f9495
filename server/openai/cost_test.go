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
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			q, err := DecodeChat(body, http.Header{})
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
			if strings.HasPrefix(name, "empty") != (err != nil && strings.Contains(err.Error(), "values")) {
				t.Errorf("its values are counted as %v", err)
			}
		})
	}
}
