package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/outcome"
)

// httpError is every failure a client sees, on any route, before or inside a
// stream.
type httpError struct {
	Status     int // of a reply that has not begun
	Kind       string
	Code       string
	Message    string
	Param      string
	RunID      string
	Receipt    *outcome.Receipt
	Refused    bool          // admission refused it: nothing was started, capacity is why
	Retry      *bool         // x-should-retry; nil leaves it to the client
	RetryAfter time.Duration // 0 is no Retry-After
	Header     http.Header   // further reply headers, may be nil
	err        error         // for the log only
}

// Error is for the log, which has the code apart.
func (e *httpError) Error() string {
	switch {
	case e.err == nil:
		return e.Message
	case e.Code == "internal_error" || strings.Contains(e.err.Error(), e.Message):
		return e.err.Error()
	}
	return e.Message + ": " + e.err.Error()
}

func (e *httpError) Unwrap() error { return e.err }

// errorBody is OpenAI's error object with our additions.
type errorBody struct {
	Message  string           `json:"message"`
	Type     string           `json:"type"`
	Code     string           `json:"code"`
	Param    *string          `json:"param"`
	RunID    string           `json:"run_id,omitempty"`
	Receipt  *outcome.Receipt `json:"receipt,omitempty"`
	Capacity bool             `json:"capacity,omitempty"`
	Dispatch string           `json:"provider_dispatch,omitempty"`
}

func (e *httpError) body() errorBody {
	b := errorBody{Message: e.Message, Type: e.Kind, Code: e.Code, RunID: e.RunID, Receipt: e.Receipt}
	if e.Param != "" {
		b.Param = &e.Param
	}
	if e.Refused {
		b.Capacity, b.Dispatch = true, "not_started"
	}
	return b
}

// badRequest is a 400 that names the field.
func badRequest(param, format string, args ...any) *httpError {
	return &httpError{Status: http.StatusBadRequest, Kind: "invalid_request_error", Code: "invalid_request", Param: param, Message: fmt.Sprintf(format, args...)}
}

// refusal is a 4xx of our own with its code.
func refusal(status int, code, format string, args ...any) *httpError {
	kind := "invalid_request_error"
	switch status {
	case http.StatusUnauthorized:
		kind = "authentication_error"
	case http.StatusForbidden:
		kind = "permission_error"
	case http.StatusNotFound:
		kind = "not_found_error"
	}
	return &httpError{Status: status, Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// internal hides the cause from the client; the log has it. Not to be retried
// by itself: the same request would fail again.
func internal(err error) *httpError {
	no := false
	return &httpError{Status: http.StatusInternalServerError, Kind: "server_error", Code: "internal_error", Message: "internal error: the daemon's log has the cause under this request id", Retry: &no, err: err}
}

// asHTTPError turns any handler error into the one shape.
func asHTTPError(err error) *httpError {
	var e *httpError
	if errors.As(err, &e) {
		return e
	}
	return internal(err)
}

// writeError is the one place that writes a failed reply.
func writeError(w http.ResponseWriter, e *httpError) {
	h := w.Header()
	for k, v := range e.Header {
		h[k] = v
	}
	if e.Retry != nil {
		h.Set("X-Should-Retry", strconv.FormatBool(*e.Retry))
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(e.RetryAfter))
	}
	writeJSON(w, e.Status, map[string]errorBody{"error": e.body()})
}

// retryAfter is in whole seconds (RFC 9110, 10.2.3), at least one.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Max(1, math.Ceil(d.Seconds()))))
}

// writeJSON writes v with its length, so that the client needs no chunking.
func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":{"message":"reply could not be encoded","type":"server_error","code":"internal_error","param":null}}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that left is told by the request's context
}

// marshal is JSON without HTML escaping and without the final newline.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := newEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// newEncoder writes JSON without HTML escaping, a newline after each value.
func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}
