package server

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"penstock/config"
)

const (
	bodyMax     = 8 << 20 // bytes
	bodyTimeout = 2 * time.Minute
	depthMax    = 64
)

// readBody takes the whole body, decoded. The end must be seen: only then does
// net/http watch the connection and end the request's context when the client
// goes away.
func readBody(w *reply, r *http.Request) ([]byte, error) {
	decode, err := decoding(r.Header)
	if err != nil {
		return nil, err
	}
	// Refused only by test recorders, whose bodies are in memory.
	_ = w.ctrl.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := readDecoded(http.MaxBytesReader(w, r.Body, bodyMax), decode)
	// A deadline left standing would end the watch, and with it the run.
	_ = w.ctrl.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refusal(http.StatusRequestEntityTooLarge, "body_too_large", "the body is over %s", config.Size(tooLarge.Limit))
	case err != nil:
		e := badRequest("", "the body could not be read: %s", errBody(err))
		e.err = err
		return nil, e
	}
	return bytes.TrimPrefix(body, []byte("\ufeff")), nil // the mark that some tools put before UTF-8
}

// decoder undoes a Content-Encoding.
type decoder func(io.Reader) (io.Reader, error)

// decoding picks the decoder of a body; nil where it comes as it is.
func decoding(h http.Header) (decoder, error) {
	switch coding := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ", "))); coding {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }, nil
	case "deflate":
		return inflate, nil
	default:
		e := refusal(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Encoding %q is not supported: send gzip, deflate, or the body as it is", clip(coding, 40))
		e.Param, e.Header = "Content-Encoding", http.Header{"Accept-Encoding": {"gzip, deflate"}}
		return nil, e
	}
}

// inflate takes the zlib format that RFC 9110 calls deflate, and the bare one that
// some clients take the name for.
func inflate(r io.Reader) (io.Reader, error) {
	in := bufio.NewReader(r)
	head, err := in.Peek(2)
	if err == nil && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(in)
	}
	return flate.NewReader(in), nil
}

// readDecoded holds what comes out of the decoder to the limit that in has, and
// reads in to its end.
func readDecoded(in io.ReadCloser, decode decoder) ([]byte, error) {
	if decode == nil {
		return io.ReadAll(in)
	}
	plain, err := decode(in)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(plain, bodyMax+1))
	if err == nil && len(body) > bodyMax {
		err = &http.MaxBytesError{Limit: bodyMax}
	}
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, in)
	return body, err
}

// errBody is what a client is told of a body that can't be read.
func errBody(err error) string {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum), errors.Is(err, zlib.ErrDictionary), errors.As(err, &corrupt):
		return "it is not in its Content-Encoding"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early"
	}
	return "the connection broke"
}

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
