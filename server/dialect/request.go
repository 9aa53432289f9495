package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"penstock/backend/schema"
	"penstock/internal/bytesize"
	"penstock/server/web"
)

// Request is what a client asks for, whatever it asks in: the one form that the server
// knows. A decoder of a dialect fills it, and every refusal of one is a 400 that names
// the field.
type Request struct {
	Model    string
	Messages []Message
	Turns    string // the dialect's own field for Messages
	Stream   bool
	Session  string
	Cwd      string
	Timeout  time.Duration // 0 is none given
	Limits   Limits
	Effort   string
	// EffortField is the dialect's own field that the effort came in; "" is none of them.
	EffortField string
	Metadata    json.RawMessage
	Ignored     []string // fields that were asked for and legally have no effect, sorted
	// Schema is the JSON Schema that the answer has to keep to; AnyObject: it has to be some
	// JSON object. Neither is free text.
	Schema    json.RawMessage
	AnyObject bool
	// Person tells people apart that share the client's token (user, safety_identifier,
	// metadata.user_id); "" is not told.
	Person string
	// IncludeUsage asks for a usage chunk at the end of a chat stream.
	IncludeUsage bool
	// Discard keeps nothing of the answer but its run's record.
	Discard bool
	// Background has the run go on without its client, and be answered at once.
	Background bool
	// Previous is the id of the answer that is continued; "" is none.
	Previous string
	// Echo is what an answer says again of its request, as the dialect has it.
	Echo json.RawMessage
	// Asked is kept with a stored answer; nil of any other.
	Asked *Asked

	Fields web.Fields // of the body, as they came
}

// Asked is what is kept of a request whose answer is stored: so much that the answer can be
// shown again, and continued.
type Asked struct {
	// Echo is what the answer says again of its request; small.
	Echo json.RawMessage `json:"echo,omitempty"`
	// Input are the items as they came, each with an id, without the system text that is
	// not carried over to the next turn.
	Input []json.RawMessage `json:"input,omitempty"`
	// Previous is the id of the answer that was continued; "" is none.
	Previous string `json:"previous,omitempty"`
	// System is the system text's hash: a CLI that keeps another one can't be told to forget it.
	System string `json:"system,omitempty"`
}

const (
	nameMax     = 256 // bytes of a model, session or effort
	metadataMax = 16 << 10
)

// Common are the fields that all dialects have in common, of which some are penstock's own.
var Common = []string{"model", "stream", "session_id", "cwd", "timeout_ms", "limits", "effort", "metadata"}

// DecodeCommon takes the Common fields, and the session from the headers.
func (q *Request) DecodeCommon(f web.Fields, h http.Header) error {
	q.Fields = f
	for _, step := range []func(web.Fields) error{q.decodeModel, q.decodeRun, q.decodeMetadata} {
		if err := step(f); err != nil {
			return err
		}
	}
	return q.decodeSession(h)
}

func (q *Request) decodeModel(f web.Fields) error {
	if err := f.Into("model", "", &q.Model, "a string"); err != nil {
		return err
	}
	if q.Model == "" {
		return web.BadRequest("model", "model is needed: <backend>[/<model>]; GET /v1/models lists them")
	}
	if !isPrintable(q.Model) {
		return web.BadRequest("model", "model must be at most %d printable characters", nameMax)
	}
	return f.Into("stream", "", &q.Stream, "true or false")
}

// decodeRun takes what is asked of the run itself.
func (q *Request) decodeRun(f web.Fields) (err error) {
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
	if err := f.Into("effort", "", &q.Effort, "a string"); err != nil {
		return err
	}
	if err := q.SetEffort("effort", ""); err != nil {
		return err
	}
	q.Limits, err = decodeLimits(f)
	return err
}

func (q *Request) decodeMetadata(f web.Fields) error {
	if !f.Given("metadata") {
		return nil
	}
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
	return nil
}

// SetEffort takes a dialect's own word for the effort, of the named field; "" is none. It
// must not disagree with penstock's own.
func (q *Request) SetEffort(field, theirs string) error {
	if theirs != "" {
		q.EffortField = field
	}
	if q.Effort != "" && theirs != "" && q.Effort != theirs {
		return web.BadRequest("effort", "effort and %s disagree", field)
	}
	if q.Effort == "" {
		q.Effort = theirs
	}
	if !isPrintable(q.Effort) || strings.HasPrefix(q.Effort, "-") {
		return web.BadRequest("effort", "effort must be a word such as low, medium or high")
	}
	return nil
}

// SetSchema takes the JSON Schema that the answer has to keep to.
func (q *Request) SetSchema(raw json.RawMessage, where string) error {
	if web.KindOf(raw) != '{' {
		return web.BadRequest(where, "%s must be a JSON Schema, which is an object", where)
	}
	if _, err := schema.Compile(raw); err != nil {
		wrong := &schema.Error{Problem: err.Error()}
		_ = errors.As(err, &wrong)
		where = wrong.Below(where)
		return web.BadRequest(where, "%s %s", where, wrong.Problem)
	}
	q.Schema = bytes.Clone(bytes.TrimSpace(raw)) // it outlives the body
	return nil
}

// decodeSession takes the id from the body or any of the headers; they must agree.
func (q *Request) decodeSession(h http.Header) error {
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

// SetIgnored notes the fields that were asked for and are not among handled, nor Common.
// Null asks for nothing.
func (q *Request) SetIgnored(handled []string) {
	for key := range q.Fields {
		if q.Fields.Given(key) && !slices.Contains(handled, key) && !slices.Contains(Common, key) {
			q.Ignored = append(q.Ignored, key)
		}
	}
	slices.Sort(q.Ignored)
}

// NoteIgnored notes fields, or members of some, that this backend gives no effect.
func (q *Request) NoteIgnored(keys ...string) {
	for _, key := range keys {
		if field, _, _ := strings.Cut(key, "."); q.Fields.Given(field) {
			q.Ignored = append(q.Ignored, key)
		}
	}
	slices.Sort(q.Ignored)
}

const ignoredMax = 1024 // bytes of the header

// IgnoredHeader is the value of X-Penstock-Ignored; names that a header can't
// carry are shown with question marks.
func IgnoredHeader(names []string) string {
	var b strings.Builder
	for _, name := range names {
		safe := strings.Map(func(r rune) rune {
			if r <= 0x20 || r >= 0x7f || r == ',' {
				return '?'
			}
			return r
		}, web.Clip(name, 64))
		if b.Len()+len(safe) > ignoredMax {
			b.WriteString(", ...")
			break
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(safe)
	}
	return b.String()
}

// billing is what Claude Code (2.1.36 and newer) writes before its system text for the one
// provider that it is made for, with hashes of the request; routers put it into other dialects.
const billing = "x-anthropic-billing-header"

var billingPattern = regexp.MustCompile(`^\s*` + billing + `:(?:[ \t]*[a-z_]+=[^;\s]*;?)*\s*`)

// DropBilling takes it from the system texts, and notes that. It may be another one in each turn,
// so that no turn would continue the one before, and providers refuse it.
func (q *Request) DropBilling() {
	kept := q.Messages[:0]
	found := false
	for _, m := range q.Messages {
		if m.Role == System && billingPattern.MatchString(m.Text) {
			found, m.Text = true, billingPattern.ReplaceAllLiteralString(m.Text, "")
			if m.Text == "" {
				continue
			}
		}
		kept = append(kept, m)
	}
	q.Messages = kept
	if found {
		q.Ignored = append(q.Ignored, billing)
	}
}
