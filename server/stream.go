package server

import (
	"context"
	"errors"
	"io"
	"time"

	"penstock/backend"
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

// stream writes one reader's view of a run.
type stream struct {
	web.SSE
	w                *web.Reply
	base             *openai.Completion // what all chunks of the run have in common
	includeUsage     bool
	after            int64 // events up to this number were seen before; -1 is none
	announceCaughtUp bool  // say when all events so far are out
	text             sentText
	pending          pendingDelta
	last             uint64 // number of the last event
	usage            *backend.Usage
	ping             *time.Ticker // of follow
	pingedAt         int64        // bytes written when ping was last put off
}

func newStream(w *web.Reply, resumable bool, after int64) *stream {
	return &stream{SSE: web.NewSSE(w, resumable), w: w, after: after}
}

// stream serves a chat request as server-sent events; its errors are those of
// a reply that has not begun.
func (d *daemon) stream(w *web.Reply, x *web.RequestInfo, ctx context.Context, j *job, includeUsage bool, after int64) error {
	s := newStream(w, j.durable, after)
	s.includeUsage = includeUsage
	defer d.streaming(w)()
	w.WaitForReader()
	if err := s.await(ctx, j); err != nil {
		return s.readerGone(ctx, x, j, err)
	}
	if j.err != nil {
		e := notStarted(j.id, j.err)
		if !w.Begun() {
			return e
		}
		return s.fail(x, e)
	}
	if err := s.follow(ctx, x, j.run, !j.durable); err != nil {
		return s.readerGone(ctx, x, j, err)
	}
	return nil
}

// streaming counts w as an event stream until its end.
func (d *daemon) streaming(w *web.Reply) (end func()) {
	d.metrics.StreamOpened()
	w.OnWrite = d.metrics.StreamWrote
	return func() {
		w.OnWrite = nil
		d.metrics.StreamClosed()
	}
}

// readerGone is a client that left, or one that is to come again.
func (s *stream) readerGone(ctx context.Context, x *web.RequestInfo, j *job, err error) error {
	if isHandedOver(ctx) {
		e := reattachError(j.id)
		if !s.w.Begun() {
			return e
		}
		return s.fail(x, e)
	}
	if !j.durable {
		j.cancel(err)
	}
	x.Failed(web.ClientGone(err))
	return nil
}

// await tells the client its place until the run begins or is refused.
func (s *stream) await(ctx context.Context, j *job) error {
	soon := time.NewTimer(openAfter)
	defer soon.Stop()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	told := 0
	for {
		place, moved := j.queuePosition()
		if place > 0 && place != told {
			told = place
			if err := s.commentOrOpen(queued(place)); err != nil {
				return err
			}
		}
		select {
		case <-j.started:
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

// commentOrOpen is a comment; the first one opens the reply.
func (s *stream) commentOrOpen(text string) error {
	if s.w.Begun() {
		return s.Comment(text)
	}
	return s.Open(text)
}

// follow writes the run's events to its end. owner tells that this reader's
// run may be ended when its answer can't be told any more.
func (s *stream) follow(ctx context.Context, x *web.RequestInfo, r *run.Run, owner bool) error {
	s.base = newChunk(r)
	x.Conn.FollowsRun(func() bool { return isClosed(r.Ended()) })
	if err := s.commentOrOpen("run " + r.ID()); err != nil {
		return err
	}
	if err := s.first(); err != nil {
		return err
	}
	events := r.Follow(0)
	defer events.Close()
	s.text.discards = true
	s.ping = time.NewTicker(pingEvery)
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

// next writes one event, where there is one; more tells when there may be
// another, and is nil after the stream's end.
func (s *stream) next(ctx context.Context, x *web.RequestInfo, events *spool.Reader, r *run.Run, owner bool) (more <-chan struct{}, err error) {
	e, more, err := events.Try()
	switch {
	case errors.Is(err, io.EOF):
		return nil, s.finish(ctx, x, r)
	case err != nil:
		return nil, s.runUnreadable(ctx, x, r, err)
	case e.Kind == 0:
		return more, s.pause(more)
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
func (s *stream) pause(more <-chan struct{}) error {
	if err := s.send(); err != nil {
		return err
	}
	if s.w.Bytes > s.pingedAt { // many events are silent to the client
		s.pingedAt = s.w.Bytes
		s.ping.Reset(pingEvery)
	}
	if s.announceCaughtUp && !isClosed(more) {
		s.announceCaughtUp = false
		return s.Comment("caught up")
	}
	return s.Flush()
}

// rereadSent reads the text before the event that is the first to take some back; from
// now on it is kept.
func (s *stream) rereadSent(ctx context.Context, r *run.Run, first uint64) error {
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

// first is the role delta: number 0, before any event.
func (s *stream) first() error {
	if s.after >= 0 {
		return nil
	}
	empty := ""
	if err := s.chunk(0, openai.Delta{Role: openai.RoleAssistant, Content: &empty}); err != nil {
		return err
	}
	return s.Flush()
}

// event writes one event, if it is new to the client. ok is false where the
// CLI took back text that is out already and now says something else.
func (s *stream) event(e backend.Event) (ok bool, err error) {
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

func (s *stream) chunk(id int64, d openai.Delta) error {
	c := *s.base
	c.Choices = []openai.Choice{{Delta: &d}}
	return s.Data(id, c)
}

// newChunk is NewCompletion for a stream. By pointer: a record and an answer on
// the stack of each stream would double it, for as long as it lasts.
func newChunk(r *run.Run) *openai.Completion {
	c := completionOf("chat.completion.chunk", r.Record())
	return &c
}

func completionOf(object string, r run.Record) openai.Completion {
	return openai.NewCompletion(object, r.ID, r.Model, r.Created)
}
