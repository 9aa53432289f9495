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
	"penstock/server/dialect"
	"penstock/server/web"
	"penstock/spool"
)

const (
	// openAfter is how long a stream's headers wait for an answer about the
	// start: a refusal within it is a plain HTTP error.
	openAfter = 50 * time.Millisecond
	pingEvery = 8 * time.Second // the contract says 10 s of silence at most
)

// Stream writes one reader's view of a run as server-sent events, in a dialect.
type Stream struct {
	web.SSE
	deltas
	AnnounceCaughtUp bool // say when all events so far are out
	// BeforeEnd is called with a run that has been answered, before the client is told how; may be nil.
	BeforeEnd func(*run.Run)

	w        *web.Reply
	answer   *dialect.Answer
	text     sentText
	last     uint64                 // number of the last event
	again    func() dialect.Reading // of what was said so far; nil before there is a run
	usage    *backend.Usage
	ping     *time.Ticker // of follow
	pingedAt int64        // bytes written when ping was last put off
}

// NewStream is for a reader of an answer; a resumable one has numbered events. It
// is not inlined, nor is begin: what their callers' frames have beside is held for as
// long as the stream rests, and with some less of it the whole stack is half as big.
//
//go:noinline
func NewStream(w *web.Reply, d dialect.Dialect, a *dialect.Answer, resumable bool) *Stream {
	s := &Stream{SSE: web.NewSSE(w, resumable), w: w, answer: a}
	s.to = d.Stream(&s.SSE, a, s.reread)
	return s
}

// reread begins to give the steps so far again.
func (s *Stream) reread() dialect.Reading {
	if s.again == nil {
		return &sentReading{last: &s.last}
	}
	return s.again()
}

// Open sends the headers and what comes before the run has begun, with a first comment.
func (s *Stream) Open(comment string) error { return s.open(comment, false) }

func (s *Stream) open(comment string, queued bool) error {
	if err := s.SSE.Open(comment); err != nil {
		return err
	}
	if err := s.to.Open(queued); err != nil {
		return err
	}
	return s.Flush()
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
			if err := s.queued(place); err != nil {
				return err
			}
		}
		select {
		case <-started:
			return nil
		case <-moved:
		case <-soon.C:
			if !s.w.Begun() {
				if err := s.Open("accepted"); err != nil {
					return err
				}
			}
		case <-ping.C:
			if err := s.sendPing(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// queued tells a place in the queue; the first word opens the reply.
func (s *Stream) queued(place int) error {
	comment := "queued position=" + strconv.Itoa(place)
	if s.w.Begun() {
		return s.Comment(comment)
	}
	return s.open(comment, true)
}

func (s *Stream) sendPing() error {
	if !s.w.Begun() {
		return s.Open("ping")
	}
	if err := s.to.Ping(); err != nil {
		return err
	}
	return s.Flush()
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
	written := context.WithoutCancel(ctx) // all of it is there: a handover need not cut it short
	s.again = func() dialect.Reading {
		again := func() eventSource { return events.Again() }
		return &sentReading{ctx: written, events: again(), again: again, last: &s.last, sent: sentText{discards: s.text.discards}}
	}
	for {
		more, err := s.next(ctx, x, events, r, owner)
		if more == nil || err != nil {
			return s.brokenOff(ctx, x, err)
		}
		select {
		case <-more:
		case <-s.ping.C:
			if err := s.sendPing(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// brokenOff ends the connection of a stream that can't go on in the middle of an event, because
// what was told can't be read again: no other event may follow, and it must not look whole.
func (s *Stream) brokenOff(ctx context.Context, x *web.RequestInfo, err error) error {
	if err == nil || ctx.Err() != nil || s.w.Lost() != nil {
		return err
	}
	abortAnswer(s.w, x, err, err)
	return nil
}

// begin writes what comes before the first event.
//
//go:noinline
func (s *Stream) begin(x *web.RequestInfo, r *run.Run) error {
	s.answer.Created = r.Record().Created
	x.Conn.FollowsRun(func() bool { return isClosed(r.Ended()) })
	var err error
	if comment := "run " + r.ID(); s.w.Begun() {
		err = s.Comment(comment)
	} else {
		err = s.Open(comment)
	}
	if err != nil {
		return err
	}
	if err := s.to.Begin(); err != nil {
		return err
	}
	s.text.discards = true
	s.ping = time.NewTicker(pingEvery)
	return s.Flush()
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
		if s.text, err = sentBefore(ctx, events.Again(), e.Seq); err != nil {
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

// event gives one event to the dialect. ok is false where the
// CLI took back text that is out already and now says something else.
func (s *Stream) event(e backend.Event) (ok bool, err error) {
	s.last = e.Seq
	switch e.Kind {
	case backend.Void:
		s.text.void(e.Keep)
	case backend.UsageReport:
		s.usage = e.Usage
	case backend.Notice:
		err = s.notice(e)
	default:
		step, ok := stepOf(e, &s.text)
		if !ok {
			return false, nil
		}
		err = s.step(step)
	}
	return true, err
}

func (s *Stream) step(step dialect.Step) error {
	switch step.Kind {
	case 0:
		return nil
	case backend.ToolUse:
		if err := s.send(); err != nil {
			return err
		}
		return s.to.Step(step)
	}
	return s.add(step.Kind, step.Text, step.Seq)
}

func (s *Stream) notice(e backend.Event) error {
	if s.to.Seen(dialect.Place{Seq: e.Seq, Last: true}) {
		return nil
	}
	if err := s.send(); err != nil {
		return err
	}
	return s.Comment("notice: " + web.Clip(e.Text, 500))
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
			if err := s.sendPing(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// finish waits for the verdict and writes the end.
func (s *Stream) finish(ctx context.Context, x *web.RequestInfo, r *run.Run) error {
	if err := s.verdict(ctx, r); err != nil {
		return err
	}
	v := r.Verdict()
	if s.BeforeEnd != nil {
		s.BeforeEnd(r)
	}
	return s.end(x, v, r.Record())
}

// end writes what follows the last event of a run that went so.
func (s *Stream) end(x *web.RequestInfo, v outcome.Verdict, record run.Record) error {
	switch {
	case v.Cause != outcome.Completed:
		return s.fail(x, runFailed(v, record), record)
	case !s.text.consistent():
		return s.fail(x, textVoided(record), record)
	}
	if err := s.send(); err != nil {
		return err
	}
	x.Cause = string(v.Cause)
	if err := s.to.End(endOf(record, s.last, s.usage)); err != nil {
		return err
	}
	return s.Flush()
}

// Fail ends a stream that has begun and whose run has not. A client that is not there any
// more to read it makes no difference.
func (s *Stream) Fail(x *web.RequestInfo, e *web.Error) error {
	return s.fail(x, e, run.Record{})
}

func (s *Stream) fail(x *web.RequestInfo, e *web.Error, record run.Record) error {
	x.Failed(e)
	if err := s.send(); err != nil {
		return err
	}
	if err := s.to.Fail(e, endOf(record, s.last, s.usage)); err != nil {
		return err
	}
	return s.Flush()
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
	record := r.Record()
	return s.fail(x, textVoided(record), record)
}

// runUnreadable is our own failure to read the run: never a quiet end.
func (s *Stream) runUnreadable(ctx context.Context, x *web.RequestInfo, r *run.Run, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	record := r.Record()
	e := web.AfterStart(unreadable(cause), r.ID(), record.Receipt)
	e.RunID = r.ID()
	return s.fail(x, e, record)
}
