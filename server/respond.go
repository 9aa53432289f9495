package server

import (
	"context"

	"penstock/run"
	"penstock/server/answer"
	"penstock/server/dialect"
	"penstock/server/web"
)

// respondStream serves a request as server-sent events; its errors are those of
// a reply that has not begun.
func (d *daemon) respondStream(ctx context.Context, w *web.Reply, x *web.RequestInfo, j *job, in surface, a *dialect.Answer) error {
	s := answer.NewStream(w, in, a, j.durable)
	s.BeforeEnd = j.answered
	defer d.streaming(w)()
	w.WaitForReader()
	if err := s.Await(ctx, j.started, j.queuePosition); err != nil {
		return readerGone(ctx, s, w, x, j, err)
	}
	if j.err != nil {
		e := notStarted(j.id, j.err)
		if !w.Begun() {
			return e
		}
		return s.Fail(x, e)
	}
	if err := s.Follow(ctx, x, j.run, !j.durable); err != nil {
		return readerGone(ctx, s, w, x, j, err)
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
func readerGone(ctx context.Context, s *answer.Stream, w *web.Reply, x *web.RequestInfo, j *job, err error) error {
	if isHandedOver(ctx) {
		e := reattachError(j.id)
		if !w.Begun() {
			return e
		}
		return s.Fail(x, e)
	}
	if !j.durable {
		j.cancel(err)
	}
	x.Failed(web.ClientGone(err))
	return nil
}

// respondWhole serves a request as one object.
func (d *daemon) respondWhole(ctx context.Context, w *web.Reply, x *web.RequestInfo, j *job, in surface, a *dialect.Answer) error {
	p := answer.NewWhole(w, in, a, d.config.FirstByteAfter.Duration)
	defer p.Stop()
	p.BeforeEnd = j.answered
	w.WaitForReader()
	err := p.Wait(ctx, j.started)
	switch {
	case err == nil && j.err != nil:
		err = notStarted(j.id, j.err)
	case err == nil:
		err = p.Answer(ctx, x, j.run)
	}
	if err != nil {
		return noAnswer(ctx, p, x, j, err)
	}
	return nil
}

// noAnswer ends a request without an answer; one that its client left ends the run.
func noAnswer(ctx context.Context, p *answer.Whole, x *web.RequestInfo, j *job, err error) error {
	record := run.Record{Created: j.created}
	if j.begun() && j.run != nil {
		record = j.run.Record()
	}
	if isHandedOver(ctx) {
		err = reattachError(j.id)
	} else if ctx.Err() != nil {
		if !j.durable {
			j.cancel(err)
		}
		err = web.ClientGone(nil)
	} else if j.begun() && j.run != nil {
		err = web.AfterStart(err, j.id, record.Receipt)
	}
	return p.Fail(x, record.Created, err)
}
