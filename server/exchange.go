package server

import (
	"context"
	"net/http"
	"regexp"

	"github.com/oklog/ulid/v2"

	"penstock/server/listener"
)

// requestInfo is what one request's log line and metrics are made of; the
// handlers fill it in.
type requestInfo struct {
	requestID string
	route     string // path template, "unmatched" where no route took it
	client    string
	conn      *listener.Conn // nil in tests without a connection
	operator  bool           // may see into and end other clients' runs
	runID     string
	job       *job   // of a chat request that was let in
	own       bool   // job is this request's, not an earlier one's
	cause     string // why it ended: a cause, an error's code, or ""
	err       error  // for the log; nil when it went well
}

type contextKey int

const (
	infoKey contextKey = iota
	peerKey
)

func infoOf(r *http.Request) *requestInfo {
	if x, ok := r.Context().Value(infoKey).(*requestInfo); ok {
		return x
	}
	return &requestInfo{}
}

func withInfo(r *http.Request, x *requestInfo) *http.Request {
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

// runID takes the caller's X-Run-Id, or makes one; named tells which.
func runID(r *http.Request) (id string, named bool, err error) {
	values := r.Header.Values("X-Run-Id")
	if len(values) == 0 {
		return "run_" + ulid.Make().String(), false, nil
	}
	// "." and ".." match the pattern but could not be a directory's name.
	if len(values) > 1 || !idPattern.MatchString(values[0]) || values[0] == "." || values[0] == ".." {
		return "", false, badRequest("X-Run-Id", "X-Run-Id must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
	}
	return values[0], true, nil
}
