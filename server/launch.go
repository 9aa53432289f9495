package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/admit"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/web"
	"penstock/spawn"
)

// launch starts the job: a slot, the run. ctx is the request's own unless the job is
// durable; its end ends the run, or keeps it from being started at all.
func (d *daemon) launch(ctx context.Context, j *job, s run.Spec) {
	// A job that slipped past the drain must not start when all have been ended.
	release := context.AfterFunc(d.base, func() { j.cancel(errDaemonEnds) })
	j.release = release
	r, err := d.start(ctx, j, s)
	d.begin(ctx, j, s, r, err)
}

// begin tells what has become of a job: its run, or why it has none.
func (d *daemon) begin(ctx context.Context, j *job, s run.Spec, r *run.Run, err error) {
	j.lease.Release()
	if err != nil {
		j.lock.Release()
		r, err = d.refuse(j, s, err)
	}
	if j.pending && !errors.Is(err, errLeft) {
		d.runs.ForgetPending(j.id)
	}
	j.begin(r, err)
	if err != nil {
		d.ended(j)
		return
	}
	d.superviseRun(ctx, r, func() {
		if j.remember == nil || !isClosed(r.Ended()) {
			d.ended(j)
			return
		}
		go func() {
			j.answered(r) // where no reader was there for its end
			d.ended(j)
		}()
	})
}

// ended is for a job whose run is over, or was not started.
func (d *daemon) ended(j *job) {
	if j.begun() && j.isLeft() {
		d.jobs.left()
	} else {
		d.jobs.ended(j)
	}
	close(j.gone)
	if j.release != nil {
		j.release()
	}
	j.cancel(nil)
}

// refuse gives a request that was promised a run, and has none for why, one that has ended by
// that, or leaves it to the next daemon; any other has the refusal alone.
func (d *daemon) refuse(j *job, s run.Spec, why error) (*run.Run, error) {
	if !j.isPromised() {
		return nil, why
	}
	if j.pending && endsWithDaemon(why) {
		return nil, errLeft
	}
	e := notStarted(j.id, why)
	r, saved, err := d.runs.Refuse(run.Record{
		ID: j.id, Client: j.client, Backend: j.backend, Model: j.model, Session: j.session, Received: &j.created,
		Metadata: s.Metadata, Limits: s.Limits, Cause: outcome.Cause(e.Code), Message: e.Message,
	}, j.fingerprint[:], s.Asked)
	if err != nil {
		d.log.Error("a response that was promised is refused without a record", "run", j.id, "err", err)
		return nil, why
	}
	j.pending = j.pending && saved // the next daemon refuses it again where it knows nothing of this
	return r, nil
}

// superviseRun ends a run with ctx, and calls over once it has ended or is left to
// another daemon. It returns at once: no goroutine waits for a run that rests.
func (d *daemon) superviseRun(ctx context.Context, r *run.Run, over func()) {
	forget := context.AfterFunc(ctx, func() { r.End(endCause(ctx)) })
	r.OnOver(func() {
		forget()
		over()
	})
}

// start takes the session's turn, then a slot: a job that waits for its session's
// earlier turn must not hold what another could run in. A handover ends the waiting; a
// job that has its slot is started.
func (d *daemon) start(ctx context.Context, j *job, s run.Spec) (*run.Run, error) {
	if !s.Deadline.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, s.Deadline)
		defer stop()
	}
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer context.AfterFunc(d.waiting, func() { giveUp(errDaemonEnds) })()
	if s.Session != "" && s.SessionLock == nil {
		turn, err := d.runs.LockSession(waiting, j.client, s.Session, j.inLine)
		if err != nil {
			j.waited = time.Since(j.created)
			d.countRefusal(j, err)
			return nil, causeOf(waiting, err)
		}
		s.SessionLock = turn
	}
	slot, err := d.gate.Acquire(waiting, admit.Ask{Client: j.client, Backend: j.backend, Memory: memoryOf(s.Limits), Deadline: s.Deadline, OnPosition: j.setPosition})
	j.waited = time.Since(j.created)
	if err != nil {
		d.countRefusal(j, err)
		if s.SessionLock != nil {
			s.SessionLock.Release()
		}
		return nil, causeOf(waiting, err)
	}
	j.setPosition(0)
	d.metrics.QueueWait(j.client, slot.Waited(), s.ID)
	id := s.ID // s itself holds the prompt
	s.OnGone = func() {
		if r, err := d.runs.Get(id); err == nil {
			releaseSlot(slot, r.Record())
			return
		}
		slot.Release() // it was never started
	}
	r, err := d.runs.Start(ctx, s)
	if failed, ok := errors.AsType[*spawn.StartError](err); ok {
		d.metrics.StartFailed(j.backend, failed.Cause)
	}
	return r, causeOf(ctx, err)
}

// releaseSlot gives a slot on, and tells the gate what its run needed.
func releaseSlot(slot *admit.Slot, r run.Record) {
	if r.Receipt != nil && r.Receipt.MemoryPeakBytes != nil {
		slot.Learn(int64(*r.Receipt.MemoryPeakBytes))
	}
	slot.Release()
}

// countRefusal counts what is answered with admission's refusal: a deadline that
// passes in a queue is one, wherever it was noticed first.
func (d *daemon) countRefusal(j *job, err error) {
	var refused *admit.Refused
	switch {
	case errors.As(err, &refused):
		d.metrics.Refused(j.client, string(refused.Reason))
	case errors.Is(err, context.DeadlineExceeded):
		d.metrics.Refused(j.client, string(admit.QueueTimeout))
	}
}

func memoryOf(l *specs.LinuxResources) int64 {
	if l == nil || l.Memory == nil || l.Memory.Limit == nil {
		return 0
	}
	return *l.Memory.Limit
}

// causeOf prefers the reason the context was ended for over "context canceled".
func causeOf(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func endCause(ctx context.Context) outcome.Cause {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCancelled):
		return outcome.Cancelled
	case errors.Is(cause, errDaemonEnds):
		return outcome.ShuttingDown
	}
	return outcome.ClientGone
}

// restorePending launches the requests that an earlier daemon has answered and not started, one
// after the other as they came. All of them are known when it returns, and most are in line: one
// that has to wait before that, for a picture that is fetched, holds up those behind it only.
func (d *daemon) restorePending() {
	var launches []func()
	for _, p := range d.runs.Pending() {
		launches = append(launches, d.restoreJob(p))
	}
	if len(launches) == 0 {
		return
	}
	d.log.Info("requests of an earlier daemon wait for their start again", "requests", len(launches))
	inLine := make(chan struct{})
	go func() {
		defer close(inLine)
		for _, launch := range launches {
			launch()
		}
	}()
	select {
	case <-inLine:
	case <-time.After(restoreWait):
	}
}

// restoreWait is how long the daemon isn't ready for requests that are to come after those of an
// earlier one.
const restoreWait = 2 * time.Second

// restoreJob makes a pending request known again; launch puts it into its line.
func (d *daemon) restoreJob(p run.Pending) (launch func()) {
	j := newJob(p.ID, p.Client, true)
	j.created, j.fingerprint, j.pending = p.Received, dialect.Fingerprint(p.Fingerprint), true
	j.answerEarly()
	j.standing.Store(promised)
	j.lease = d.intake.NewLease()
	size := len(p.Body)
	j.reader = func(ctx context.Context) (func(), error) { return d.intake.AcquireReader(ctx, size) }
	// Its daemon had room for it: it is counted, and not refused.
	_, _ = io.Copy(io.Discard, j.lease.Meter(context.Background(), bytes.NewReader(p.Body)))
	q, err := decodePending(p)
	if err == nil {
		j.model, j.echo, j.session = q.Model, q.Echo, q.Session
		if a, _, unknown := d.backends.resolve(q.Model); unknown == nil {
			j.backend = a.config.Name
		}
	}
	if d.notDurable != nil { // a run may have written it
		err = noDurable()
	}
	var ctx context.Context
	ctx, j.cancel = context.WithCancelCause(d.base)
	d.jobs.restore(j)
	d.keys.Add(j.id)
	return func() {
		if err != nil {
			d.begin(ctx, j, run.Spec{Asked: []byte("{}")}, nil, err)
			return
		}
		spec, err := d.prepareAgain(ctx, q, j, p)
		if err != nil {
			d.begin(ctx, j, spec, nil, err)
			return
		}
		go d.launch(ctx, j, spec)
		select {
		case <-j.lined:
		case <-j.started:
		}
	}
}

// sessionHeader names a session in a request, and tells which one an answer was given in.
const sessionHeader = "X-Session-Id"

func decodePending(p run.Pending) (*dialect.Request, error) {
	s, ok := surfaceOf(p.Dialect)
	if !ok || len(p.Fingerprint) != len(dialect.Fingerprint{}) {
		return nil, web.BadRequest("", "the request can't be read by this version")
	}
	h := http.Header{}
	if p.Session != "" {
		h.Set(sessionHeader, p.Session)
	}
	return s.decode(p.Body, h)
}

// prepareAgain is prepare for a request of an earlier daemon. Where it fails the Spec has what is
// kept of it nevertheless.
func (d *daemon) prepareAgain(ctx context.Context, q *dialect.Request, j *job, p run.Pending) (run.Spec, error) {
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer context.AfterFunc(d.waiting, func() { giveUp(errDaemonEnds) })()
	spec, err := d.prepare(waiting, &web.RequestInfo{Client: p.Client, Operator: p.Operator}, q, j, p.Received)
	if err == nil {
		return spec, nil
	}
	if waiting.Err() != nil {
		err = context.Cause(waiting)
	}
	asked, unmade := json.Marshal(q.Asked)
	return run.Spec{Asked: asked, Metadata: q.Metadata}, errors.Join(err, unmade)
}
