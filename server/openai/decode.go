package openai

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

// Request is a decoded and checked POST /v1/chat/completions.
type Request struct {
	Model        string
	Messages     []Message
	Stream       bool
	IncludeUsage bool
	Session      string
	Cwd          string
	Timeout      time.Duration // 0 is none given
	Limits       RequestLimits
	Effort       string
	Metadata     json.RawMessage
	Ignored      []string // fields we were asked for and legally ignore, sorted
	fields       web.Fields
}

const (
	nameMax     = 256 // bytes of a model, session or effort
	metadataMax = 16 << 10
)

// Decode turns a body and its headers into a request; every error is a 400
// naming the field.
func Decode(body []byte, h http.Header) (*Request, error) {
	f, err := web.ParseObject(body, "")
	if err != nil {
		return nil, err
	}
	q := &Request{}
	steps := []func(web.Fields) error{q.model, q.messages, q.streaming, q.extensions, q.limits, unsupported}
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

func (q *Request) model(f web.Fields) error {
	if err := f.Into("model", "", &q.Model, "a string"); err != nil {
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

func (q *Request) messages(f web.Fields) error {
	raw, err := f.Array("messages", "", "an array")
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

func (q *Request) streaming(f web.Fields) error {
	if err := f.Into("stream", "", &q.Stream, "true or false"); err != nil {
		return err
	}
	if !f.Given("stream_options") {
		return nil
	}
	options, err := f.Object("stream_options")
	if err != nil {
		return err
	}
	return options.Into("include_usage", "stream_options", &q.IncludeUsage, "true or false")
}

func (q *Request) extensions(f web.Fields) error {
	if err := f.Into("session_id", "", &q.Session, "a string"); err != nil {
		return err
	}
	if err := f.Into("cwd", "", &q.Cwd, "a string"); err != nil {
		return err
	}
	if f.Given("timeout_ms") {
		var ms int64
		if err := f.Into("timeout_ms", "", &ms, "a whole number of milliseconds"); err != nil {
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
	if f.Given("metadata") {
		metadata, err := f.Object("metadata")
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
func (q *Request) effort(f web.Fields) error {
	var theirs string
	if err := f.Into("effort", "", &q.Effort, "a string"); err != nil {
		return err
	}
	if err := f.Into("reasoning_effort", "", &theirs, "a string"); err != nil {
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
func (q *Request) session(h http.Header) error {
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

func (q *Request) limits(f web.Fields) (err error) {
	q.Limits, err = decodeLimits(f)
	return err
}

// NoteIgnored notes fields that this backend gives no effect.
func (q *Request) NoteIgnored(keys ...string) {
	for _, key := range keys {
		if q.fields.Given(key) {
			q.Ignored = append(q.Ignored, key)
		}
	}
	slices.Sort(q.Ignored)
}
