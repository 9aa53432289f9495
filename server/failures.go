package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"penstock/admit"
	"penstock/image"
	"penstock/outcome"
	"penstock/run"
	"penstock/sandbox"
	"penstock/server/web"
	"penstock/spawn"
)

// drainRetry is what a client is told to wait while the daemon is replaced.
const drainRetry = 10 * time.Second

// unpackRetry is what a client is told to wait while an image is unpacked.
const unpackRetry = 5 * time.Second

// errCancelled is the cause of a job's context when the cancel route ended it.
var errCancelled = errors.New("cancelled by request")

// notStarted is the reply for a request whose run never began. It names no run:
// there is no record of one.
func notStarted(id string, err error) *web.Error {
	var refused *admit.Refused
	var start *spawn.StartError
	var plain *web.Error
	var session *run.SessionError
	switch {
	case errors.Is(err, spawn.ErrName):
		return web.BadRequest("X-Run-Id", "X-Run-Id %q is the name of a kernel file: choose another", web.Clip(id, 128))
	case errors.Is(err, sandbox.ErrMoved):
		return cwdMoved()
	case errors.As(err, &refused):
		return admissionRefused(refused)
	case errors.As(err, &plain):
		return plain
	case errors.As(err, &start):
		return startFailed(start)
	case errors.As(err, &session):
		return web.BadRequest("session_id", "%s", session.Error())
	case errors.Is(err, run.ErrExists):
		return conflict(id)
	case errors.Is(err, run.ErrNotDurable):
		return noDurable()
	case errors.Is(err, errCancelled):
		return web.RunError(web.Code(outcome.Cancelled), "cancelled before it was started", "", nil)
	case errors.Is(err, errLeft):
		return waitsOn(id)
	case errors.Is(err, errDaemonEnds):
		return shuttingDown()
	case errors.Is(err, context.DeadlineExceeded):
		return admissionRefused(&admit.Refused{Reason: admit.QueueTimeout, Detail: "the request's deadline passed before its run could start"})
	case errors.Is(err, context.Canceled):
		return web.ClientGone(nil)
	}
	return web.Internal(err)
}

// noDurable refuses an X-Run-Id where the daemon's records of a run aren't safe from
// runs: it holds for every request, so that a retry is of no use.
func noDurable() *web.Error {
	e := web.Errorf(web.NotDurable, "no durable runs on this host: the daemon can't keep its records of them from other runs; ask without X-Run-Id (hint for the operator: penstock check)")
	e.Param = "X-Run-Id"
	return e
}

func admissionRefused(r *admit.Refused) *web.Error {
	e := web.OverCapacity(web.Code(r.Reason), cmp.Or(r.Detail, fmt.Sprintf("nothing was started: %s", r.Reason)), r.RetryAfter)
	switch r.Reason {
	case admit.QueueFull, admit.QueueTimeout:
		e.RetryAfter = max(e.RetryAfter, time.Second)
	case admit.ShuttingDown:
		e.RetryAfter = max(e.RetryAfter, drainRetry)
	case admit.OverBudget:
		e.Param, e.RetryAfter = "limits.memory_max", 0
	}
	return e
}

// shuttingDown refuses a new request while the daemon drains.
func shuttingDown() *web.Error {
	return admissionRefused(&admit.Refused{Reason: admit.ShuttingDown, Detail: "the daemon is shutting down: nothing was started"})
}

// startFailed tells apart what the host lacks or refused, a group, a limit or a fork
// (503: nothing ran), from what was tried (400).
func startFailed(s *spawn.StartError) *web.Error {
	var e *web.Error
	switch s.Cause {
	case outcome.CLIMissing:
		return cliMissing(s.Error())
	case outcome.ShuttingDown:
		return shuttingDown()
	case outcome.StartFailed:
		e = web.Errorf(web.Code(s.Cause), "%s", s.Error())
		e.Receipt = s.Receipt
		if errors.Is(s.Err, image.ErrUnpacking) {
			e.RetryAfter = unpackRetry
		}
	default:
		e = web.RunError(web.Code(s.Cause), s.Error(), "", s.Receipt)
	}
	e.Cause = s.Err
	return e
}

func cliMissing(why string) *web.Error { return web.Errorf(web.Code(outcome.CLIMissing), "%s", why) }

var errDaemonEnds = errors.New("the daemon ends")

func conflict(id string) *web.Error {
	e := web.Errorf(web.RunIDConflict, "run id %s is taken, by another request or by a run of an earlier daemon: choose another X-Run-Id", id)
	e.Param, e.RunID = "X-Run-Id", id
	return e
}

// replayGone answers the request of a run that is not kept any more.
func replayGone(id string) *web.Error {
	no := false
	e := web.Errorf(web.ReplayGone, "run %s has ended and is not kept any more: nothing was started; to run it anew choose another X-Run-Id", id)
	e.Param, e.RunID, e.Retry = "X-Run-Id", id, &no
	return e
}

// errHandedOver ends the readers of durable runs.
var errHandedOver = errors.New("the daemon hands over")

// reattachError tells a reader to attach again: its run goes on.
func reattachError(id string) *web.Error {
	retry := true
	return &web.Error{
		Status: http.StatusServiceUnavailable, Kind: web.KindServer, Code: web.Code(outcome.ShuttingDown), RunID: id, Retry: &retry, RetryAfter: time.Second,
		Message: "the daemon is being replaced and the run goes on: attach again with the same X-Run-Id and Last-Event-ID",
	}
}

// errLeft is of a request that waits on, for the next daemon to start it.
var errLeft = errors.New("left to the next daemon")

// notKept refuses what is to be answered before it is started, and can't be kept until then.
func notKept(err error) error {
	if _, known := errors.AsType[*spawn.StartError](err); known {
		return err
	}
	return &spawn.StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("the request can't be kept until it is started: %w", err)}
}

// endsWithDaemon tells that nothing but the end of this daemon kept a run from being started.
func endsWithDaemon(err error) bool {
	var start *spawn.StartError
	var gate *admit.Refused
	return errors.Is(err, errDaemonEnds) || errors.As(err, &start) && start.Cause == outcome.ShuttingDown ||
		errors.As(err, &gate) && gate.Reason == admit.ShuttingDown
}

// waitsOn tells a reader to come again: what it waits for is not lost.
func waitsOn(id string) *web.Error {
	e := reattachError(id)
	e.Message = "the daemon ends, and the next one starts this request: come again then, with the same id"
	return e
}

// unreadable is of a run that can't be read now, for want of what the host should give: that
// it is not there would be a guess.
func unreadable(err error) *web.Error {
	return web.Internal(fmt.Errorf("what is kept of a run can't be read: %w", err))
}
