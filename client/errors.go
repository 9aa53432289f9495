package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"penstock/cgroup"
)

// Error is the daemon's word that something failed, as a reply or as the last
// frame of a stream.
type Error struct {
	Status     int             `json:"-"` // 0 in a stream
	Type       string          `json:"type"`
	Code       string          `json:"code"`
	Message    string          `json:"message"`
	Param      string          `json:"param,omitempty"`
	RunID      string          `json:"run_id,omitempty"`
	Receipt    *cgroup.Receipt `json:"receipt,omitempty"`
	RetryAfter time.Duration   `json:"-"` // 0 is not told
}

// Error is the message and the code.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// runGoesOn tells, of a stream's last frame, that the run outlives the daemon that
// says so: a run that was ended has a run_error.
func (e *Error) runGoesOn() bool { return e.Code == "shutting_down" && e.Type == "server_error" }

// Unreachable is a daemon that can't be spoken to.
type Unreachable struct {
	Address string
	Err     error
}

// Error names the address.
func (e *Unreachable) Error() string { return fmt.Sprintf("%s: %v", e.Address, e.Err) }

func (e *Unreachable) Unwrap() error { return e.Err }

// Cut is a stream that ended before its end.
type Cut struct {
	RunID string // "" when it was not told yet
	Tries int    // to attach again
	Err   error
}

// Error says how often it was tried again.
func (e *Cut) Error() string {
	if e.Tries == 0 {
		return fmt.Sprintf("the connection was cut: %v", e.Err)
	}
	return fmt.Sprintf("the connection was cut, and %d tries to attach again failed: %v", e.Tries, e.Err)
}

func (e *Cut) Unwrap() error { return e.Err }

// refusal decodes a reply of status 300 and above. What isn't ours, such as a
// proxy's, is told by its status alone.
func refusal(resp *http.Response) *Error {
	var reply struct{ Error *Error }
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || json.Unmarshal(text, &reply) != nil || reply.Error == nil || reply.Error.Message == "" {
		return &Error{Status: resp.StatusCode, Message: fmt.Sprintf("%s %s: %s, and not as penstock says it", resp.Request.Method, resp.Request.URL.Redacted(), resp.Status)}
	}
	e := reply.Error
	e.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}
