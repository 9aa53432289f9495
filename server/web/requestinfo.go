package web

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"

	"github.com/oklog/ulid/v2"

	"penstock/server/listener"
)

// Unmatched is the route of a request that none took.
const Unmatched = "unmatched"

// RequestInfo is what one request's log line and metrics are made of; the
// handlers fill it in.
type RequestInfo struct {
	requestID string
	route     string // path template, or unmatched
	Client    string
	Conn      *listener.Conn // nil in tests without a connection
	Operator  bool           // may see into and end other clients' runs
	RunID     string
	Admitted  bool               // its run, RunID, may be alive
	Attrs     func() []slog.Attr // what the log line says of the run; nil is nothing
	Cause     string             // why it ended: a cause, an error's code, or ""
	Err       error              // for the log; nil when it went well
}

// Failed notes why the request has no answer.
func (x *RequestInfo) Failed(e *Error) { x.Cause, x.Err = string(e.Code), e }

// Owns tells whether a run of that client may be shown to the caller.
func (x *RequestInfo) Owns(client string) bool { return x.Operator || x.Client == client }

type contextKey int

const (
	infoKey contextKey = iota
	peerKey
)

func InfoOf(r *http.Request) *RequestInfo {
	if x, ok := r.Context().Value(infoKey).(*RequestInfo); ok {
		return x
	}
	return &RequestInfo{}
}

func WithInfo(r *http.Request, x *RequestInfo) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), infoKey, x))
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// requestID takes the caller's id where it is safe to log, else makes one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); idPattern.MatchString(id) {
		return id
	}
	return "req_" + ulid.Make().String()
}

// RunID takes the caller's X-Run-Id, or makes one; named tells which.
func RunID(r *http.Request) (id string, named bool, err error) {
	values := r.Header.Values("X-Run-Id")
	if len(values) == 0 {
		return "run_" + ulid.Make().String(), false, nil
	}
	// "." and ".." match the pattern but could not be a directory's name.
	if len(values) > 1 || !idPattern.MatchString(values[0]) || values[0] == "." || values[0] == ".." {
		return "", false, BadRequest("X-Run-Id", "X-Run-Id must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
	}
	return values[0], true, nil
}

// HeaderSafe keeps a path's text out of the headers unless it is an id.
func HeaderSafe(id string) string {
	if idPattern.MatchString(id) {
		return id
	}
	return ""
}
