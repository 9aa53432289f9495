package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const depthMax = 64

// checkJSON refuses what must not reach a decoder: not UTF-8, or so deep that
// decoding it would cost far more than its bytes.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return badRequest("", "the body is not valid UTF-8")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return badRequest("", "the body is empty: a JSON object is needed")
	}
	if depth(body) > depthMax {
		return badRequest("", "the JSON is nested deeper than %d levels", depthMax)
	}
	return nil
}

// depth is the deepest nesting of arrays and objects, strings left out. Exact
// for valid JSON; for anything else the decoder complains afterwards.
func depth(text []byte) int {
	deepest, now := 0, 0
	inString := false
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
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// notJSON tells where a text stops being JSON. One that ends too early is no
// plain end of file to who sent it.
func notJSON(where string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return badRequest(where, "not valid JSON: %v", err)
}

// fields is a JSON object with its values still raw.
type fields map[string]json.RawMessage

// parseObject takes exactly one JSON object. A key given twice is refused:
// which one counts would be a guess.
func parseObject(body []byte, where string) (fields, error) {
	if err := checkJSON(body); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	first, err := dec.Token()
	if err != nil {
		return nil, notJSON(where, err)
	}
	if first != json.Delim('{') {
		return nil, badRequest(where, "a JSON object is needed")
	}
	out := fields{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, notJSON(where, err)
		}
		key, ok := token.(string)
		if !ok {
			return nil, badRequest(where, "not valid JSON: a key must be a string")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, notJSON(join(where, key), err)
		}
		if _, twice := out[key]; twice {
			return nil, badRequest(join(where, key), "%q is given twice", clip(key, 100))
		}
		out[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(where, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, badRequest(where, "there is something after the JSON object")
	}
	return out, nil
}

func join(where, key string) string {
	if where == "" {
		return clip(key, 100)
	}
	return where + "." + clip(key, 100)
}

// into decodes one field; absent and null leave v as it is. want names the
// type for the message.
func (f fields) into(key, where string, v any, want string) error {
	raw, ok := f[key]
	if !ok || isNull(raw) {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		e := badRequest(join(where, key), "%s must be %s", join(where, key), want)
		e.err = fmt.Errorf("decode: %w", err)
		return e
	}
	return nil
}

func (f fields) given(key string) bool {
	raw, ok := f[key]
	return ok && !isNull(raw)
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }
