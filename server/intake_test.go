package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock/server/web"
)

// filled is a body of nearly the largest size: before, one piece again and again, after.
func filled(before, piece, after string) []byte {
	n := (web.BodyMax - len(before) - len(after)) / len(piece)
	return []byte(before + strings.Repeat(piece, n) + after)
}

// What a body costs before anybody is asked whether it may run, in bytes: for each
// of its own, whatever it is made of.
func TestBodiesCostLittle(t *testing.T) {
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
		"as many calls as may be": []byte(`{"model":"sh","messages":[{"role":"assistant","tool_calls":[` + strings.Repeat(`{},`, valuesMax/2-20) +
			`{}]},{"role":"user","content":"` + strings.Repeat("</call", 1<<20) + `"}]}`),
		"as many turns as may be": []byte(`{"model":"sh","messages":[` + strings.Repeat(`{"role":"user","content":""},`, valuesMax/3-20) + `{"role":"user","content":""}]}`),
		"not JSON in the end":     filled(user, "words of a text ", `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			q, err := decodeChat(body, http.Header{})
			prompt := ""
			if err == nil {
				if _, prompt, err = buildPrompt(q.Messages, false); err == nil {
					_, err = q.fingerprint()
				}
			}
			runtime.ReadMemStats(&after)
			spent := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes: %d MiB in %d pieces, a prompt of %d bytes, %v", len(body), spent>>20, after.Mallocs-before.Mallocs, len(prompt), err)
			if spent > 20*web.BodyMax {
				t.Errorf("%d MiB for a body of %d MiB", spent>>20, len(body)>>20)
			}
			if pieces := after.Mallocs - before.Mallocs; pieces > 12*valuesMax {
				t.Errorf("%d pieces", pieces)
			}
			if len(prompt) > promptMax {
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

// A request that runs, is refused, attaches or is wrong holds nothing any more.
func TestIntakeIsGivenBack(t *testing.T) {
	d := opened(t)
	h := d.handler()
	large := strings.Repeat("#", 3<<20) + "\necho x"
	for _, body := range []string{
		chatBody("sh", large, false, ""), chatBody("sh", large, true, ""), chatBody("nosuch", large, false, ""),
		chatBody("sh", large, false, `,"n":2`), chatBody("sh", large, false, "")[:3<<20], chatBody("sh", large, false, `,"x":"`+strings.Repeat("y", web.BodyMax)+`"`),
	} {
		for range 2 {
			h.ServeHTTP(newRecorder(), asked("POST", "/v1/chat/completions", body))
			h.ServeHTTP(newRecorder(), asked("POST", "/translate", body))
		}
	}
	eventually(t, "all is given back", d.intake.Idle)
}

// The fingerprint of a request that an earlier daemon has kept is still its own.
func TestFingerprintIsEncodingJSONs(t *testing.T) {
	reference := func(q *chatRequest) (sum [sha256.Size]byte) {
		h := sha256.New()
		write := func(v any) {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			h.Write(append(text, '\n'))
		}
		write(q.Session)
		var keys []string
		for key := range q.fields {
			if key != "stream" && key != "stream_options" {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			dec := json.NewDecoder(bytes.NewReader(q.fields[key]))
			dec.UseNumber()
			var v any
			if err := dec.Decode(&v); err != nil {
				t.Fatal(err)
			}
			write([]any{key, v})
		}
		h.Sum(sum[:0])
		return sum
	}
	var values *rapid.Generator[any]
	values = rapid.Custom(func(rt *rapid.T) any {
		switch rapid.IntRange(0, 6).Draw(rt, "kind") {
		case 0:
			return rapid.String().Draw(rt, "text")
		case 1:
			return json.Number(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?`).Draw(rt, "number"))
		case 2:
			return rapid.Bool().Draw(rt, "flag")
		case 3:
			return nil
		case 4:
			return rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return values }), 0, 3).Draw(rt, "array")
		case 5:
			return rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return values }), 0, 3).Draw(rt, "object")
		}
		return strings.Repeat(rapid.SampledFrom([]string{"<", "é", "\u2028", "x\n", "\U0001F600"}).Draw(rt, "piece"), rapid.IntRange(0, 2*textPiece).Draw(rt, "times"))
	})
	rapid.Check(t, func(rt *rapid.T) {
		q := &chatRequest{Session: rapid.String().Draw(rt, "session"), fields: fields{}}
		for key, v := range rapid.MapOfN(rapid.String(), values, 0, 4).Draw(rt, "fields") {
			var text []byte
			var err error
			if rapid.Bool().Draw(rt, "spaced") {
				text, err = json.MarshalIndent(v, " ", "\t ")
			} else {
				text, err = json.Marshal(v)
			}
			if err != nil {
				rt.Fatal(err)
			}
			q.fields[key] = text
		}
		got, err := q.fingerprint()
		if want := reference(q); err != nil || got != want {
			rt.Fatalf("%x, %v, want %x", got, err, want)
		}
	})
	for _, text := range []string{`{"a":1,"a":2,"b":{"c":[ ],"c": { } }}`, `"\ud800x\udc00"`, ` [ 1 , {"x":[[],{}]} ] `, `{"\u0061":1,"a":2}`} {
		q := &chatRequest{fields: fields{"x": json.RawMessage(text)}}
		if got, err := q.fingerprint(); err != nil || got != reference(q) {
			t.Errorf("%s: another one, %v", text, err)
		}
	}
}
