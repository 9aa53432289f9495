package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"penstock/internal/bytesize"
	"penstock/server/web"
)

// chatRequest is a decoded and checked POST /v1/chat/completions.
type chatRequest struct {
	Model        string
	Messages     []message
	Stream       bool
	IncludeUsage bool
	Session      string
	Cwd          string
	Timeout      time.Duration // 0 is none given
	Limits       requestLimits
	Effort       string
	Metadata     json.RawMessage
	Ignored      []string // fields we were asked for and legally ignore, sorted
	fields       fields
}

const (
	nameMax     = 256 // bytes of a model, session or effort
	metadataMax = 16 << 10
)

// decodeChat turns a body and its headers into a request; every error is a 400
// naming the field.
func decodeChat(body []byte, h http.Header) (*chatRequest, error) {
	f, err := parseObject(body, "")
	if err != nil {
		return nil, err
	}
	q := &chatRequest{}
	steps := []func(fields) error{q.model, q.messages, q.streaming, q.extensions, q.limits, q.unsupported}
	for _, step := range steps {
		if err := step(f); err != nil {
			return nil, err
		}
	}
	if err := q.session(h); err != nil {
		return nil, err
	}
	q.Ignored = ignored(f)
	q.fields = f
	return q, nil
}

func (q *chatRequest) model(f fields) error {
	if err := f.into("model", "", &q.Model, "a string"); err != nil {
		return err
	}
	if q.Model == "" {
		return web.BadRequest("model", "model is needed: <backend>[/<model>]; GET /v1/models lists them")
	}
	if !isPrintable(q.Model) {
		return web.BadRequest("model", "model must be at most %d printable characters", nameMax)
	}
	return nil
}

func (q *chatRequest) messages(f fields) error {
	raw, err := f.array("messages", "", "an array")
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return web.BadRequest("messages", "messages must not be empty")
	}
	spoken := false
	for i, one := range raw {
		m, err := decodeMessage(one, i)
		if err != nil {
			return err
		}
		spoken = spoken || m.Role != roleSystem
		q.Messages = append(q.Messages, m)
	}
	if !spoken {
		return web.BadRequest("messages", "messages has only system text: a user message is needed")
	}
	return nil
}

func (q *chatRequest) streaming(f fields) error {
	if err := f.into("stream", "", &q.Stream, "true or false"); err != nil {
		return err
	}
	if !f.given("stream_options") {
		return nil
	}
	options, err := parseNested(f, "stream_options")
	if err != nil {
		return err
	}
	return options.into("include_usage", "stream_options", &q.IncludeUsage, "true or false")
}

func (q *chatRequest) extensions(f fields) error {
	if err := f.into("session_id", "", &q.Session, "a string"); err != nil {
		return err
	}
	if err := f.into("cwd", "", &q.Cwd, "a string"); err != nil {
		return err
	}
	if f.given("timeout_ms") {
		var ms int64
		if err := f.into("timeout_ms", "", &ms, "a whole number of milliseconds"); err != nil {
			return err
		}
		if ms < 1 || ms > int64(365*24*time.Hour/time.Millisecond) {
			return web.BadRequest("timeout_ms", "timeout_ms must be between 1 and one year")
		}
		q.Timeout = time.Duration(ms) * time.Millisecond
	}
	if err := q.effort(f); err != nil {
		return err
	}
	if f.given("metadata") {
		metadata, err := parseNested(f, "metadata")
		if err != nil {
			return err
		}
		if len(f["metadata"]) > metadataMax {
			return web.BadRequest("metadata", "metadata is over %s", bytesize.Human(metadataMax))
		}
		if len(metadata) > 0 {
			q.Metadata = bytes.Clone(f["metadata"]) // it outlives the body
		}
	}
	return nil
}

// effort takes our own name and OpenAI's for the same thing.
func (q *chatRequest) effort(f fields) error {
	var theirs string
	if err := f.into("effort", "", &q.Effort, "a string"); err != nil {
		return err
	}
	if err := f.into("reasoning_effort", "", &theirs, "a string"); err != nil {
		return err
	}
	if q.Effort != "" && theirs != "" && q.Effort != theirs {
		return web.BadRequest("effort", "effort and reasoning_effort disagree")
	}
	if q.Effort == "" {
		q.Effort = theirs
	}
	if !isPrintable(q.Effort) || strings.HasPrefix(q.Effort, "-") {
		return web.BadRequest("effort", "effort must be a word such as low, medium or high")
	}
	return nil
}

// session takes the id from the body or any of the headers; they must agree.
func (q *chatRequest) session(h http.Header) error {
	for _, name := range []string{"X-Session-Id", "X-Resume", "X-Conversation-Id"} {
		v := h.Get(name)
		if v == "" {
			continue
		}
		if q.Session != "" && q.Session != v {
			return web.BadRequest("session_id", "%s says another session than session_id or an earlier header", name)
		}
		q.Session = v
	}
	if !isPrintable(q.Session) {
		return web.BadRequest("session_id", "session_id must be at most %d printable characters", nameMax)
	}
	return nil
}

// isPrintable is short and printable ASCII or letters: safe to log and to echo.
func isPrintable(s string) bool {
	return len(s) <= nameMax && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) })
}

func parseNested(f fields, key string) (fields, error) { return parseObject(f[key], key) }

// noteIgnored notes fields that this backend gives no effect.
func (q *chatRequest) noteIgnored(keys ...string) {
	for _, key := range keys {
		if q.fields.given(key) {
			q.Ignored = append(q.Ignored, key)
		}
	}
	slices.Sort(q.Ignored)
}
