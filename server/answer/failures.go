package answer

import (
	"context"
	"errors"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/web"
	"penstock/spool"
)

// unreadable is the reply for a run whose output is not there any more.
func unreadable(cause error) *web.Error {
	for _, known := range []error{spool.ErrNoReplay, spool.ErrTampered, spool.ErrPruned} {
		if errors.Is(cause, known) {
			return web.Errorf(web.ReplayGone, "%s", known.Error())
		}
	}
	return web.Internal(cause)
}

func textVoided(record run.Record) *web.Error {
	return web.RunError(web.TextVoided, "the command line agent took back text that had been sent and answered anew: ask again without stream", record.ID, record.Receipt)
}

// runFailed is the reply for a run that did not complete.
func runFailed(v outcome.Verdict, r run.Record) *web.Error {
	e := web.RunError(web.Code(v.Cause), v.Message, r.ID, r.Receipt)
	switch v.Cause {
	case outcome.QueueFull, outcome.QueueTimeout, outcome.OverBudget: // it was promised, and never started
		e.Refused = r.Started == nil
	}
	return e
}

// tooManyVoids is a run that took back more than can be followed.
func tooManyVoids(record run.Record) *web.Error {
	return web.RunError(web.TextVoided, "the command line agent took back parts of its answer more often than can be followed", record.ID, record.Receipt)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// abortAnswer is an answer that broke off on its way: what is out must not look
// like a whole one, and there is no status left to say so with. unread is why
// the run's output could not be read.
func abortAnswer(w *web.Reply, x *web.RequestInfo, unread, err error) {
	e, status := web.ClientGone(err), 0
	if unread != nil && !errors.Is(unread, context.Canceled) {
		e = web.Internal(err)
		status = e.Status
	}
	x.Failed(e)
	w.Abort(status)
}
