package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spool"
)

// padEvery is how long a reply that has begun may be silent: nginx gives up after
// 60 s, stock clients after 301 s.
const padEvery = 15 * time.Second

// padding keeps a reply alive that takes long: it starts with its headers and then
// spaces, which JSON allows in front.
type padding struct {
	w     *web.Reply
	timer *time.Timer
}

// newPadding pads from after on; 0 is never.
func newPadding(w *web.Reply, after time.Duration) *padding {
	p := &padding{w: w, timer: time.NewTimer(after)}
	if after == 0 {
		p.timer.Stop()
	}
	return p
}

func (p *padding) pad() error {
	if !p.w.Begun() {
		h := p.w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", web.NoTransform)
		h.Set("X-Accel-Buffering", "no")
		p.w.WriteHeader(http.StatusOK)
	}
	p.timer.Reset(padEvery)
	if _, err := p.w.Write([]byte(" ")); err != nil {
		return err
	}
	return p.w.FlushError()
}

// collect serves a chat request as one object.
func (d *daemon) collect(w *web.Reply, x *web.RequestInfo, ctx context.Context, j *job) error {
	p := newPadding(w, d.config.FirstByteAfter.Duration)
	defer p.timer.Stop()
	w.WaitForReader()
	if err := p.wait(ctx, j.started); err != nil {
		return p.failed(ctx, x, j, err)
	}
	if j.err != nil {
		return p.failed(ctx, x, j, notStarted(j.id, j.err))
	}
	x.Conn.FollowsRun(func() bool { return isClosed(j.run.Ended()) })
	events := j.run.Follow(0)
	defer events.Close()
	known, record, err := p.gather(ctx, events, j.run)
	if err != nil {
		return p.failed(ctx, x, j, err)
	}
	x.Cause = string(outcome.Completed)
	w.Header().Set("Content-Type", "application/json")
	// All is there: a handover need not cut it short.
	ctx = context.WithoutCancel(ctx)
	var unread error
	again := func(each func(backend.Event) error) (err error) {
		unread, err = reread(ctx, events, each)
		return err
	}
	if err := (&answerWriter{w: w, summary: known, record: record, again: again}).write(); err != nil {
		return abortAnswer(w, x, j, unread, err)
	}
	return nil
}

// reread gives every event of an ended run once more. each's error ends it;
// unread is the reader's own.
func reread(ctx context.Context, events *spool.Reader, each func(backend.Event) error) (unread, err error) {
	events.Rewind()
	for {
		e, err := events.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return err, err
		}
		if err := each(e); err != nil {
			return nil, err
		}
	}
}

// gather waits for the run and all its events.
func (p *padding) gather(ctx context.Context, events *spool.Reader, r *run.Run) (*answerSummary, run.Record, error) {
	known, ended := &answerSummary{}, r.Ended()
	for {
		e, more, err := events.Try()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, run.Record{}, unreadable(err)
		}
		known.add(e)
		select {
		case <-more:
		case <-ended:
			if v := r.Verdict(); v.Cause != outcome.Completed {
				return nil, r.Record(), runFailed(v, r.Record()) // nobody will be shown what it said
			}
			ended = nil
		case <-p.timer.C:
			if err := p.pad(); err != nil {
				return nil, run.Record{}, err
			}
		case <-ctx.Done():
			return nil, run.Record{}, ctx.Err()
		}
	}
	if err := p.wait(ctx, r.Ended()); err != nil {
		return nil, run.Record{}, err
	}
	record := r.Record()
	if v := r.Verdict(); v.Cause != outcome.Completed {
		return nil, record, runFailed(v, record)
	}
	if known.kept.over {
		return nil, record, tooManyVoids(record)
	}
	return known, record, nil
}

func (p *padding) wait(ctx context.Context, what <-chan struct{}) error {
	for {
		select {
		case <-what:
			return nil
		case <-p.timer.C:
			if err := p.pad(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failed is a request without an answer; one that its client left ends the run.
func (p *padding) failed(ctx context.Context, x *web.RequestInfo, j *job, err error) error {
	record := run.Record{ID: j.id, Model: j.model, Created: j.created}
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
		err = web.AfterStart(err, record.ID, record.Receipt)
	}
	return p.fail(x, record, err)
}

// abortAnswer is an answer that broke off on its way: what is out must not look
// like a whole one, and there is no status left to say so with. unread is why
// the run's output could not be read.
func abortAnswer(w *web.Reply, x *web.RequestInfo, j *job, unread, err error) error {
	if !w.Begun() {
		r := j.run.Record()
		return web.AfterStart(err, r.ID, r.Receipt)
	}
	e, status := web.ClientGone(err), 0
	if unread != nil && !errors.Is(unread, context.Canceled) {
		e = web.Internal(err)
		status = e.Status
	}
	x.Failed(e)
	w.Abort(status)
	return nil
}

// fail gives the error its status, or, where padding is out already, a 200
// whose body can't be mistaken for an answer.
func (p *padding) fail(x *web.RequestInfo, record run.Record, err error) error {
	if !p.w.Begun() {
		return err
	}
	e := web.AsError(err)
	x.Failed(e)
	c := completionOf("chat.completion", record)
	reason := "error"
	body := e.Body()
	c.Error = &body
	c.Choices = []openai.Choice{{Message: &openai.AnswerMessage{Role: openai.RoleAssistant}, Finish: &reason}}
	text, err := web.Marshal(c)
	if err != nil {
		return err
	}
	_, err = p.w.Write(append(text, '\n'))
	return err
}
