package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	depthMax = 64
	// ValuesMax bounds the values of a body, members and elements: each costs a
	// hundred times its shortest text.
	ValuesMax = 100_000
)

// checkJSON refuses what must not reach a decoder: not UTF-8, or so deep or in so
// many pieces that decoding it would cost far more than its bytes.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return BadRequest("", "the body is not valid UTF-8")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return BadRequest("", "the body is empty: a JSON object is needed")
	}
	deepest, values := measure(body)
	if deepest > depthMax {
		return BadRequest("", "the JSON is nested deeper than %d levels", depthMax)
	}
	if values > ValuesMax {
		return BadRequest("", "the JSON has more than %d values", ValuesMax)
	}
	return nil
}

// measure is the deepest nesting of arrays and objects, and how many values there
// are, strings left out. Exact for valid JSON, but that an empty array or object
// may count for two; for anything else the decoder complains afterwards.
func measure(text []byte) (deepest, values int) {
	now, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
			values++
		case c == '}' || c == ']':
			now--
		case c == ',':
			values++
		}
	}
	return deepest, values + 1
}

// notJSON tells where a text stops being JSON. One that ends too early is no
// plain end of file to its sender.
func notJSON(where string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return BadRequest(where, "not valid JSON: %v", err)
}

// Fields is a JSON object with its values still raw.
type Fields map[string]json.RawMessage

// ParseObject takes exactly one JSON object; where is "" for a whole body, else
// body is a part of one. A key given twice is refused: which one counts would be a
// guess. The values are parts of body, not copies.
func ParseObject(body []byte, where string) (Fields, error) {
	if where == "" {
		if err := checkJSON(body); err != nil {
			return nil, err
		}
		if !json.Valid(body) {
			return nil, whyInvalid(body)
		}
	}
	if KindOf(body) != '{' {
		return nil, BadRequest(where, "a JSON object is needed")
	}
	out := Fields{}
	err := Members(body, func(name, value json.RawMessage) error {
		key, err := Unquote(name)
		if err != nil {
			return notJSON(where, err)
		}
		if _, twice := out[key]; twice {
			return BadRequest(JoinField(where, key), "%q is given twice", Clip(key, 100))
		}
		out[key] = value
		return nil
	})
	return out, err
}

// whyInvalid is where a text stops being JSON, named by the member it is in.
func whyInvalid(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	first, err := dec.Token()
	if err != nil {
		return notJSON("", err)
	}
	if first != json.Delim('{') {
		return BadRequest("", "a JSON object is needed")
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return notJSON("", err)
		}
		key, ok := token.(string)
		if !ok {
			return BadRequest("", "not valid JSON: a key must be a string")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return notJSON(JoinField("", key), err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return notJSON("", err)
	}
	return BadRequest("", "there is something after the JSON object")
}

// Unquote decodes a string of valid JSON.
func Unquote(raw json.RawMessage) (text string, err error) {
	if raw = bytes.TrimSpace(raw); len(raw) >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	err = json.Unmarshal(raw, &text)
	return text, err
}

// KindOf is the first byte of a value, 0 of none.
func KindOf(raw []byte) byte {
	if raw = bytes.TrimLeft(raw, jsonSpace); len(raw) > 0 {
		return raw[0]
	}
	return 0
}

const jsonSpace = " \t\r\n"

// Members gives the parts of a valid JSON object or array, in order, without
// copying them; name is nil in an array.
func Members(raw json.RawMessage, each func(name, value json.RawMessage) error) error {
	open := bytes.TrimLeft(raw, jsonSpace)
	if len(open) == 0 || open[0] != '{' && open[0] != '[' {
		return nil
	}
	for rest := bytes.TrimLeft(open[1:], jsonSpace); len(rest) > 0 && rest[0] != '}' && rest[0] != ']'; {
		var name json.RawMessage
		if open[0] == '{' {
			name = rest[:valueEnd(rest)]
			rest = bytes.TrimLeft(rest[len(name):], jsonSpace+":")
		}
		value := rest[:valueEnd(rest)]
		if err := each(name, value); err != nil {
			return err
		}
		rest = bytes.TrimLeft(rest[len(value):], jsonSpace+",")
	}
	return nil
}

// valueEnd is the length of the value that a valid text begins with.
func valueEnd(text []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			if inString = !inString; !inString && depth == 0 {
				return i + 1
			}
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			} else if depth < 0 {
				return i
			}
		case depth == 0 && strings.IndexByte(jsonSpace+",:", c) >= 0:
			return i
		}
	}
	return len(text)
}

func JoinField(where, key string) string {
	if where == "" {
		return Clip(key, 100)
	}
	return where + "." + Clip(key, 100)
}

// Into decodes one field; absent and null leave v as it is. want names the
// type for the message.
func (f Fields) Into(key, where string, v any, want string) error {
	raw, ok := f[key]
	if !ok || IsNull(raw) {
		return nil
	}
	var err error
	if text, ok := v.(*string); ok {
		*text, err = Unquote(raw)
	} else {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		e := BadRequest(JoinField(where, key), "%s must be %s", JoinField(where, key), want)
		e.Cause = fmt.Errorf("decode: %w", err)
		return e
	}
	return nil
}

// Array is into for an array whose elements stay raw; they are no copies.
func (f Fields) Array(key, where, want string) (elements []json.RawMessage, err error) {
	raw, ok := f[key]
	if !ok || IsNull(raw) {
		return nil, nil
	}
	if KindOf(raw) != '[' {
		return nil, BadRequest(JoinField(where, key), "%s must be %s", JoinField(where, key), want)
	}
	err = Members(raw, func(_, value json.RawMessage) error {
		elements = append(elements, value)
		return nil
	})
	return elements, err
}

func (f Fields) Given(key string) bool {
	raw, ok := f[key]
	return ok && !IsNull(raw)
}

func IsNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// Object is the object that a field is.
func (f Fields) Object(key string) (Fields, error) { return ParseObject(f[key], key) }
