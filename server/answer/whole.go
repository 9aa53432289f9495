package answer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/web"
	"penstock/spool"
)

// padEvery is how long a reply that has begun may be silent: nginx gives up after
// 60 s, stock clients after 301 s.
const padEvery = 15 * time.Second

// Whole writes a run's answer as one object. A reply that takes long is kept alive: it
// starts with its headers and then spaces, which JSON allows in front.
type Whole struct {
	// BeforeEnd is as a Stream's.
	BeforeEnd func(*run.Run)

	w       *web.Reply
	dialect dialect.Dialect
	answer  *dialect.Answer
	timer   *time.Timer
}

// NewWhole pads from after on; 0 is never.
func NewWhole(w *web.Reply, d dialect.Dialect, a *dialect.Answer, after time.Duration) *Whole {
	p := &Whole{w: w, dialect: d, answer: a, timer: time.NewTimer(after)}
	if after == 0 {
		p.timer.Stop()
	}
	return p
}

// Stop ends the padding.
func (p *Whole) Stop() { p.timer.Stop() }

func (p *Whole) pad() error {
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

// Answer writes the answer of r. An error comes before the first byte of it: the
// reply is padding at most.
func (p *Whole) Answer(ctx context.Context, x *web.RequestInfo, r *run.Run) error {
	x.Conn.FollowsRun(func() bool { return isClosed(r.Ended()) })
	reader := r.Follow(0)
	defer reader.Close()
	known, record, err := p.gather(ctx, reader, r)
	if err != nil {
		return err
	}
	if p.BeforeEnd != nil {
		p.BeforeEnd(r)
	}
	x.Cause = string(outcome.Completed)
	p.w.Header().Set("Content-Type", "application/json")
	// All is there: a handover need not cut it short.
	ctx = context.WithoutCancel(ctx)
	var unread error
	steps := known.steps(ctx, func() eventSource { return known.again(reader) }, &unread)
	p.answer.Created = record.Created
	err = p.dialect.Whole(p.answer).Write(p.w, endOf(record, known.last, known.usage), known.contents, steps)
	if err == nil || !p.w.Begun() {
		return err
	}
	abortAnswer(p.w, x, unread, err)
	return nil
}

// eachEvent gives every event of an answered run. each's error ends it; unread is the
// reader's own.
func eachEvent(ctx context.Context, events *spool.Reader, each func(backend.Event) error) (unread, err error) {
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
		if e.Kind == backend.Done {
			return nil, nil
		}
	}
}

// gather waits for the verdict, and reads the events when it is there: nothing is said
// before, so nothing is woken by each of them. The file is opened while it is there.
func (p *Whole) gather(ctx context.Context, events *spool.Reader, r *run.Run) (*answerSummary, run.Record, error) {
	for {
		more, err := events.Open()
		if more == nil || err != nil {
			break // what failed comes again when it is read
		}
		if err := p.Wait(ctx, more); err != nil {
			return nil, run.Record{}, err
		}
	}
	if err := p.Wait(ctx, r.Answered()); err != nil {
		return nil, run.Record{}, err
	}
	known, err := summarize(ctx, events, r, func() error {
		select {
		case <-p.timer.C:
			return p.pad()
		default:
			return nil
		}
	})
	return known, r.Record(), err
}

// summarize reads the events of an answered run; step is called with each. An error is of a
// run that has no whole answer, or whose events can't be read.
func summarize(ctx context.Context, events *spool.Reader, r *run.Run, step func() error) (*answerSummary, error) {
	record := r.Record()
	if v := r.Verdict(); v.Cause != outcome.Completed {
		return nil, runFailed(v, record) // its text is shown to no client
	}
	known := &answerSummary{}
	unread, err := eachEvent(ctx, events, func(e backend.Event) error {
		known.add(e)
		return step()
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case unread != nil:
		return nil, unreadable(unread)
	case err != nil:
		return nil, err
	case known.kept.over:
		return nil, tooManyVoids(record)
	case known.takenBack:
		if err := known.judge(ctx, answerEvents{known.again(events), &unread}); err != nil {
			return nil, unreadable(err)
		}
	}
	return known, nil
}

// Kept gives the steps of the answer of a run that has been answered, and how that went. They
// may be gone through again until close is called. An error is as of a whole answer.
func Kept(ctx context.Context, r *run.Run) (steps dialect.Steps, end dialect.End, close func(), err error) {
	reader := r.Follow(0)
	known, err := summarize(ctx, reader, r, func() error { return nil })
	if err != nil {
		reader.Close()
		return nil, dialect.End{}, nil, err
	}
	var unread error
	steps = known.steps(ctx, func() eventSource { return known.again(reader) }, &unread)
	return steps, endOf(r.Record(), known.last, known.usage), reader.Close, nil
}

func (p *Whole) Wait(ctx context.Context, what <-chan struct{}) error {
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

// Fail gives the error its status, or, where padding is out already, a 200
// whose body can't be mistaken for an answer.
func (p *Whole) Fail(x *web.RequestInfo, created time.Time, err error) error {
	if !p.w.Begun() {
		return err
	}
	e := web.AsError(err)
	x.Failed(e)
	p.answer.Created = created
	text, err := web.Marshal(p.dialect.Whole(p.answer).Fail(e))
	if err != nil {
		return err
	}
	_, err = p.w.Write(append(text, '\n'))
	return err
}
