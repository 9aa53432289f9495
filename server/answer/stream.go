package answer

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spool"
)

const (
	// openAfter is how long a stream's headers wait for an answer about the
	// start: a refusal within it is a plain HTTP error.
	openAfter = 50 * time.Millisecond
	pingEvery = 8 * time.Second // the contract says 10 s of silence at most
)

// Stream writes one reader's view of a run as server-sent events.
type Stream struct {
	chunkWriter
	IncludeUsage     bool
	AnnounceCaughtUp bool // say when all events so far are out
	text             sentText
	last             uint64 // number of the last event
	usage            *backend.Usage
	ping             *time.Ticker // of follow
	pingedAt         int64        // bytes written when ping was last put off
}

// NewStream is for a reader that has seen the events up to number after; -1 is none. It
// is not inlined, nor is begin: what their callers' frames have beside is held for as
// long as the stream rests, and with some less of it the whole stack is half as big.
//
//go:noinline
func NewStream(w *web.Reply, resumable bool, after int64) *Stream {
	return &Stream{chunkWriter: chunkWriter{SSE: web.NewSSE(w, resumable), w: w, after: after}}
}

// Await tells the client its place until the run begins or is refused, with started;
// position is its place in the queue and what to wait on for a change.
func (s *Stream) Await(ctx context.Context, started <-chan struct{}, position func() (int, <-chan struct{})) error {
	soon := time.NewTimer(openAfter)
	defer soon.Stop()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	announced := 0
	for {
		place, moved := position()
		if place > 0 && place != announced {
			announced = place
			if err := s.commentOrOpen(queued(place)); err != nil {
				return err
			}
		}
		select {
		case <-started:
			return nil
		case <-moved:
		case <-soon.C:
			if !s.w.Begun() {
				if err := s.commentOrOpen("accepted"); err != nil {
					return err
				}
			}
		case <-ping.C:
			if err := s.commentOrOpen("ping"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Follow writes the run's events to its end. owner tells that this reader's
// run may be ended when its answer can't be given any more.
func (s *Stream) Follow(ctx context.Context, x *web.RequestInfo, r *run.Run, owner bool) error {
	if err := s.begin(x, r); err != nil {
		return err
	}
	events := r.Follow(0)
	defer events.Close()
	defer s.ping.Stop()
	for {
		more, err := s.next(ctx, x, events, r, owner)
		if more == nil || err != nil {
			return err
		}
		select {
		case <-more:
		case <-s.ping.C:
			if err := s.Comment("ping"); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin writes what comes before the first event.
//
//go:noinline
func (s *Stream) begin(x *web.RequestInfo, r *run.Run) error {
	s.base = newChunk(r)
	x.Conn.FollowsRun(func() bool { return isClosed(r.Ended()) })
	if err := s.commentOrOpen("run " + r.ID()); err != nil {
		return err
	}
	if err := s.first(); err != nil {
		return err
	}
	s.text.discards = true
	s.ping = time.NewTicker(pingEvery)
	return nil
}

// next writes one event, where there is one; more tells when there may be
// another, and is nil after the stream's end.
func (s *Stream) next(ctx context.Context, x *web.RequestInfo, events *spool.Reader, r *run.Run, owner bool) (more <-chan struct{}, err error) {
	e, more, err := events.Try()
	switch {
	case errors.Is(err, io.EOF):
		return nil, s.finish(ctx, x, r)
	case err != nil:
		return nil, s.runUnreadable(ctx, x, r, err)
	case e.Kind == 0:
		return more, s.pause(more)
	case e.Kind == backend.Done: // the last event, also of a CLI that lives on
		s.last = e.Seq
		return nil, s.finish(ctx, x, r)
	case e.Kind == backend.Void && s.text.discards:
		if err := s.rereadSent(ctx, r, e.Seq); err != nil {
			return nil, s.runUnreadable(ctx, x, r, err)
		}
	}
	if ok, err := s.event(e); err != nil {
		return nil, err
	} else if !ok {
		return nil, s.textContradicted(x, r, owner)
	}
	return more, nil
}

// pause sends what was written: what came together goes out together.
func (s *Stream) pause(more <-chan struct{}) error {
	if err := s.send(); err != nil {
		return err
	}
	if s.w.Bytes > s.pingedAt { // many events are silent to the client
		s.pingedAt = s.w.Bytes
		s.ping.Reset(pingEvery)
	}
	if s.AnnounceCaughtUp && !isClosed(more) {
		s.AnnounceCaughtUp = false
		return s.Comment("caught up")
	}
	return s.Flush()
}

// rereadSent reads the text before the event that is the first to take some back; from
// now on it is kept.
func (s *Stream) rereadSent(ctx context.Context, r *run.Run, first uint64) error {
	reader := r.Follow(0)
	defer reader.Close()
	s.text = sentText{}
	for {
		e, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		if e.Seq >= first {
			return nil
		}
		if e.Kind == backend.Text {
			s.text.text(e.Text)
		}
	}
}

// event writes one event, if it is new to the client. ok is false where the
// CLI took back text that is out already and now says something else.
func (s *Stream) event(e backend.Event) (ok bool, err error) {
	s.last = e.Seq
	old := int64(e.Seq) <= s.after
	switch e.Kind {
	case backend.Text:
		more, ok := s.text.text(e.Text)
		if !ok || old || more == "" {
			return ok, nil
		}
		err = s.delta(e.Kind, more, e.Seq)
	case backend.Void:
		s.text.void(e.Keep)
		return true, nil
	case backend.UsageReport:
		s.usage = e.Usage
		return true, nil
	case backend.Reasoning:
		if old || e.Text == "" {
			return true, nil
		}
		err = s.delta(e.Kind, e.Text, e.Seq)
	case backend.ToolUse:
		if old || e.Tool == nil {
			return true, nil
		}
		if err = s.send(); err == nil {
			err = s.chunk(int64(e.Seq), openai.Delta{Tool: lineTool(e.Tool)})
		}
	case backend.Notice:
		if old {
			return true, nil
		}
		if err = s.send(); err == nil {
			err = s.Comment("notice: " + web.Clip(e.Text, 500))
		}
	default:
		return true, nil // session, done, failed: the run's verdict tells
	}
	return true, err
}

// queued is the comment that tells a place.
func queued(place int) string { return "queued position=" + strconv.Itoa(place) }

// finish waits for the verdict and writes the end: exactly one finish chunk or
// one error frame, then [DONE].
func (s *Stream) finish(ctx context.Context, x *web.RequestInfo, r *run.Run) error {
	if err := s.verdict(ctx, r); err != nil {
		return err
	}
	return s.end(x, r.Verdict(), r.Record())
}

// end writes what follows the last event of a run that went so.
func (s *Stream) end(x *web.RequestInfo, v outcome.Verdict, record run.Record) error {
	if v.Cause != outcome.Completed {
		return s.Fail(x, runFailed(v, record))
	}
	if !s.text.consistent() {
		return s.Fail(x, textVoided(record))
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
	if s.IncludeUsage && s.after != accounted {
		usageFrame := *s.base
		usageFrame.Usage, usageFrame.Cost = openai.UsageOf(s.usage)
		usageFrame.Receipt = record.Receipt
		if err := s.Data(accounted, usageFrame); err != nil {
			return err
		}
	}
	return s.Done()
}

// verdict pings until it is certain, which is at the CLI's last word at the earliest.
func (s *Stream) verdict(ctx context.Context, r *run.Run) error {
	if isClosed(r.Answered()) {
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
		case <-r.Answered():
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

// textContradicted is the CLI saying something else than what is out already.
func (s *Stream) textContradicted(x *web.RequestInfo, r *run.Run, owner bool) error {
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
	return s.Fail(x, textVoided(r.Record()))
}

// runUnreadable is our own failure to read the run: never a quiet end.
func (s *Stream) runUnreadable(ctx context.Context, x *web.RequestInfo, r *run.Run, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := web.AfterStart(unreadable(cause), r.ID(), r.Record().Receipt)
	e.RunID = r.ID()
	return s.Fail(x, e)
}
