package server

import (
	"context"
	"errors"
	"strconv"
	"time"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spool"
)

// queued is the comment that tells a place.
func queued(place int) string { return "queued position=" + strconv.Itoa(place) }

// finish waits for the verdict and writes the end: exactly one finish chunk or
// one error frame, then [DONE].
func (s *stream) finish(ctx context.Context, x *web.RequestInfo, r *run.Run) error {
	if err := s.verdict(ctx, r); err != nil {
		return err
	}
	return s.end(x, r.Verdict(), r.Record())
}

// end writes what follows the last event of a run that went so.
func (s *stream) end(x *web.RequestInfo, v outcome.Verdict, record run.Record) error {
	if v.Cause != outcome.Completed {
		return s.fail(x, runFailed(v, record))
	}
	if !s.text.consistent() {
		return s.fail(x, textVoided(record))
	}
	if err := s.send(); err != nil {
		return err
	}
	x.Cause = string(v.Cause)
	reason := openai.FinishReason(record.Finish)
	end := *s.base
	end.Choices = []openai.Choice{{Delta: &openai.Delta{}, Finish: &reason}}
	end.Metadata = record.Metadata
	ended, accounted := int64(s.last+1), int64(s.last+2)
	if s.after != ended && s.after != accounted { // a number past the end is no reason to keep the end back
		if err := s.Data(ended, end); err != nil {
			return err
		}
	}
	if s.includeUsage && s.after != accounted {
		account := *s.base
		account.Usage, account.Cost = openai.UsageOf(s.usage)
		account.Receipt = record.Receipt
		if err := s.Data(accounted, account); err != nil {
			return err
		}
	}
	return s.Done()
}

// verdict pings until the tree is gone: only then is anything known for sure.
func (s *stream) verdict(ctx context.Context, r *run.Run) error {
	if isClosed(r.Ended()) {
		return nil
	}
	if err := s.send(); err != nil {
		return err
	}
	if err := s.Flush(); err != nil {
		return err
	}
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-r.Ended():
			return nil
		case <-ping.C:
			if err := s.Comment("ping"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fail ends a stream that has begun. A client that is not there any more to
// read it makes no difference.
func (s *stream) fail(x *web.RequestInfo, e *web.Error) error {
	x.Failed(e)
	if err := s.send(); err != nil {
		return err
	}
	if err := s.Failure(e); err != nil {
		return err
	}
	return s.Done()
}

// textContradicted is the CLI saying something else than what is out already.
func (s *stream) textContradicted(x *web.RequestInfo, r *run.Run, owner bool) error {
	if err := s.send(); err != nil {
		return err
	}
	if err := s.Flush(); err != nil {
		return err
	}
	if owner {
		r.End(outcome.CLIError)
		<-r.Ended()
	}
	return s.fail(x, textVoided(r.Record()))
}

// runUnreadable is our own failure to read the run: never a quiet end.
func (s *stream) runUnreadable(ctx context.Context, x *web.RequestInfo, r *run.Run, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := web.AfterStart(unreadable(cause), r.ID(), r.Record().Receipt)
	e.RunID = r.ID()
	return s.fail(x, e)
}

// unreadable is what can be told of a run whose output is not there any more.
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
