package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"penstock/outcome"
)

// Error is every failure a client sees, on any route, before or inside a
// stream.
type Error struct {
	Status     int // of a reply that has not begun
	Kind       string
	Code       Code
	Message    string
	Param      string
	RunID      string
	Receipt    *outcome.Receipt
	Refused    bool          // admission refused it: nothing was started, capacity is why
	Retry      *bool         // x-should-retry; nil leaves it to the client
	RetryAfter time.Duration // 0 is no Retry-After
	Header     http.Header   // further reply headers, may be nil
	Cause      error         // for the log only
}

// Error is for the log, which has the code apart.
func (e *Error) Error() string {
	switch {
	case e.Cause == nil:
		return e.Message
	case e.Code == InternalError || strings.Contains(e.Cause.Error(), e.Message):
		return e.Cause.Error()
	}
	return e.Message + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf is what a request gets that has started nothing; see Code.rule.
func Errorf(code Code, format string, args ...any) *Error {
	rule := code.rule()
	return &Error{Status: rule.status, Kind: rule.kind, Code: code, Message: fmt.Sprintf(format, args...), Retry: rule.retry.header()}
}

// BadRequest is a 400 that names the field.
func BadRequest(param, format string, args ...any) *Error {
	e := Errorf(InvalidRequest, format, args...)
	e.Param = param
	return e
}

// OverCapacity is a refusal of admission, or of what comes before it.
func OverCapacity(code Code, detail string, retryAfter time.Duration) *Error {
	e := Errorf(code, "%s", detail)
	e.Refused, e.RetryAfter = true, retryAfter
	return e
}

// NoDescriptors refuses a request on a connection of the descriptor reserve.
func NoDescriptors() *Error {
	retry := true
	e := Errorf(Code(outcome.StartFailed), "too many open files: the daemon has no file descriptor for this connection (hint: raise LimitNOFILE= of the unit, or have fewer clients)")
	e.Retry, e.RetryAfter = &retry, time.Second
	return e
}

// ClientGone is read by no client; it gives the log line its cause.
func ClientGone(cause error) *Error {
	e := Errorf(Code(outcome.ClientGone), "the client went away")
	e.Cause = cause
	return e
}

// Internal hides the cause from the client; the log has it. Not to be retried
// by itself: the same request would fail again.
func Internal(err error) *Error {
	e := Errorf(InternalError, "internal error: the daemon's log has the cause under this request id")
	e.Cause = err
	return e
}

// RunError is the reply for what failed after its run was let in. Always 400:
// every other status is repeated by some stock client (SDKs repeat 408, 409, 429
// and 5xx, LangChain JS also 424, aider whatever LiteLLM has no class for), and an
// agent that has acted must not be run again without the caller's word.
func RunError(code Code, message, runID string, receipt *outcome.Receipt) *Error {
	return &Error{Status: http.StatusBadRequest, Kind: KindRun, Code: code, Message: message, RunID: runID, Receipt: receipt, Retry: retryNo.header()}
}

// AfterStart is a failure of ours that came when the run had been started: told
// as any other end of a run, for a 5xx would be repeated.
func AfterStart(err error, runID string, receipt *outcome.Receipt) *Error {
	e := AsError(err)
	if e.Status < http.StatusInternalServerError {
		return e
	}
	failed := RunError(e.Code, e.Message, runID, receipt)
	failed.Cause = e.Cause
	return failed
}

// AsError turns any handler error into the one shape.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Internal(err)
}
