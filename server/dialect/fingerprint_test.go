package dialect

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock/server/web"
)

// The fingerprint of a request that an earlier daemon has kept is still its own.
func TestFingerprint_IsEncodingJSONs(t *testing.T) {
	reference := func(q *Request) (sum [sha256.Size]byte) {
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
		for key := range q.Fields {
			if key != "stream" && key != "stream_options" {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			dec := json.NewDecoder(bytes.NewReader(q.Fields[key]))
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
		q := &Request{Session: rapid.String().Draw(rt, "session"), Fields: web.Fields{}}
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
			q.Fields[key] = text
		}
		got, err := q.Fingerprint()
		if want := reference(q); err != nil || got != want {
			rt.Fatalf("%x, %v, want %x", got, err, want)
		}
	})
	for _, text := range []string{`{"a":1,"a":2,"b":{"c":[ ],"c": { } }}`, `"\ud800x\udc00"`, ` [ 1 , {"x":[[],{}]} ] `, `{"\u0061":1,"a":2}`} {
		q := &Request{Fields: web.Fields{"x": json.RawMessage(text)}}
		if got, err := q.Fingerprint(); err != nil || got != reference(q) {
			t.Errorf("%s: another one, %v", text, err)
		}
	}
}
