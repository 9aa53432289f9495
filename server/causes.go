package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"penstock/admit"
	"penstock/outcome"
	"penstock/run"
	"penstock/spawn"
)

// drainRetry is what a client is told to wait while the daemon is replaced.
const drainRetry = 10 * time.Second

// errCancelled is the cause of a job's context when the cancel route ended it.
var errCancelled = errors.New("cancelled by request")

const kindRun = "run_error"

// runError is the reply for what failed after its run was let in. Always 400:
// every other status is repeated by some stock client (SDKs repeat 408, 409, 429
// and 5xx, LangChain JS also 424, aider whatever LiteLLM has no class for), and an
// agent that has acted must not be run again without the caller's word.
func runError(code, message string, r run.Record) *httpError {
	no := false
	return &httpError{Status: http.StatusBadRequest, Kind: kindRun, Code: code, Message: message, RunID: r.ID, Receipt: r.Receipt, Retry: &no}
}

// runFailed is the reply for a run that was started and did not complete.
func runFailed(v outcome.Verdict, r run.Record) *httpError {
	return runError(string(v.Cause), v.Message, r)
}

// afterStart is a failure of our own that came when the run had been started: told
// as any other end of a run, for a 5xx would be repeated.
func afterStart(err error, r run.Record) *httpError {
	e := asHTTPError(err)
	if e.Status < http.StatusInternalServerError {
		return e
	}
	told := runError(e.Code, e.Message, r)
	told.err = e.err
	return told
}

// notStarted is the reply for a request whose run never began. It names no run:
// there is no record of one.
func notStarted(id string, err error) *httpError {
	var refused *admit.Refused
	var start *spawn.StartError
	var plain *httpError
	var session *run.SessionError
	switch {
	case errors.Is(err, spawn.ErrName):
		return badRequest("X-Run-Id", "X-Run-Id %q is the name of a kernel file: choose another", clip(id, 128))
	case errors.Is(err, spawn.ErrMoved):
		return cwdMoved()
	case errors.As(err, &refused):
		return admissionRefused(refused)
	case errors.As(err, &plain):
		return plain
	case errors.As(err, &start):
		return startFailed(start)
	case errors.As(err, &session):
		return badRequest("session_id", "%s", session.Error())
	case errors.Is(err, run.ErrExists):
		return conflict(id)
	case errors.Is(err, run.ErrNotDurable):
		return noDurable()
	case errors.Is(err, errCancelled):
		return runError(string(outcome.Cancelled), "cancelled before it was started", run.Record{})
	case errors.Is(err, errDaemonEnds):
		return shuttingDown()
	case errors.Is(err, context.DeadlineExceeded):
		return admissionRefused(&admit.Refused{Reason: admit.QueueTimeout, Detail: "the request's deadline passed before its run could start"})
	case errors.Is(err, context.Canceled):
		return clientGone()
	}
	return internal(err)
}

// noDurable refuses an X-Run-Id where the daemon's records of a run aren't safe from
// runs: it holds for every request, so that a retry is of no use.
func noDurable() *httpError {
	return &httpError{
		Status: http.StatusBadRequest, Kind: "invalid_request_error", Code: "not_durable", Param: "X-Run-Id",
		Message: "no durable runs on this host: the daemon can't keep its records of them from other runs; ask without X-Run-Id (hint for the operator: penstock check)",
	}
}

// clientGone is never read by anybody; it gives the log line its cause.
func clientGone() *httpError {
	return &httpError{Status: 499, Kind: kindRun, Code: string(outcome.ClientGone), Message: "the client went away"}
}

func admissionRefused(r *admit.Refused) *httpError {
	e := &httpError{Kind: "capacity_error", Code: string(r.Reason), Message: r.Detail, Refused: true, RetryAfter: r.RetryAfter}
	retry := true
	switch r.Reason {
	case admit.QueueFull, admit.QueueTimeout:
		e.Status = http.StatusTooManyRequests
		e.RetryAfter = max(e.RetryAfter, time.Second)
	case admit.ShuttingDown:
		e.Status = http.StatusServiceUnavailable
		e.RetryAfter = max(e.RetryAfter, drainRetry)
	default: // over_budget: the same request can never fit
		e.Status, e.Kind, retry = http.StatusBadRequest, "invalid_request_error", false
		e.Param, e.RetryAfter = "limits.memory_max", 0
	}
	e.Retry = &retry
	if e.Message == "" {
		e.Message = fmt.Sprintf("nothing was started: %s", r.Reason)
	}
	return e
}

// shuttingDown refuses a new request while the daemon drains.
func shuttingDown() *httpError {
	return admissionRefused(&admit.Refused{Reason: admit.ShuttingDown, Detail: "the daemon is shutting down: nothing was started"})
}

// startFailed tells apart what the host lacks or can't hold (503) from what was
// tried (400).
func startFailed(s *spawn.StartError) *httpError {
	switch s.Cause {
	case outcome.CLIMissing:
		return cliMissing(s.Error())
	case outcome.ShuttingDown:
		return shuttingDown()
	case outcome.StartFailed:
		return hostFailed(s)
	}
	e := runError(string(s.Cause), s.Error(), run.Record{Receipt: s.Receipt})
	e.err = s.Err
	return e
}

// hostFailed is a group, a limit or a birth that the host refused: nothing ran,
// so a retry does no harm, and no other status says that it is not the request's
// fault.
func hostFailed(s *spawn.StartError) *httpError {
	return &httpError{Status: http.StatusServiceUnavailable, Kind: "server_error", Code: string(s.Cause), Message: s.Error(), Receipt: s.Receipt, err: s.Err}
}

// noDescriptors refuses a request on a connection of the reserve.
func noDescriptors() *httpError {
	retry := true
	return &httpError{
		Status: http.StatusServiceUnavailable, Kind: "server_error", Code: string(outcome.StartFailed), Retry: &retry, RetryAfter: time.Second,
		Message: "too many open files: the daemon has no file descriptor for this connection (hint: raise LimitNOFILE= of the unit, or have fewer clients)",
	}
}

// cliMissing is not worth a retry: the operator has to install something.
func cliMissing(why string) *httpError {
	no := false
	return &httpError{Status: http.StatusServiceUnavailable, Kind: "server_error", Code: string(outcome.CLIMissing), Message: why, Retry: &no}
}
