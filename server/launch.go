package server

import (
	"context"
	"errors"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/admit"
	"penstock/outcome"
	"penstock/run"
	"penstock/spawn"
)

// launch starts the job: a slot, the run. ctx is the request's own unless the job is
// durable; its end ends the run, or keeps it from being started at all.
func (d *daemon) launch(ctx context.Context, j *job, s run.Spec) {
	// A job that slipped past the drain must not start when all have been ended.
	release := context.AfterFunc(d.base, func() { j.cancel(errDaemonEnds) })
	over := func() {
		d.jobs.ended(j)
		close(j.gone)
		release()
		j.cancel(nil)
	}
	r, err := d.start(ctx, j, s)
	j.lease.Release()
	if err != nil {
		j.lock.Release()
		r, err = d.refuse(j, s, err)
	}
	j.begin(r, err)
	if err != nil {
		over()
		return
	}
	d.superviseRun(ctx, r, func() {
		if j.remember == nil || !isClosed(r.Ended()) {
			over()
			return
		}
		go func() {
			j.answered(r) // where no reader was there for its end
			over()
		}()
	})
}

// refuse gives a request that was promised a run, and has none for why, one that has ended by
// that; any other has the refusal alone.
func (d *daemon) refuse(j *job, s run.Spec, why error) (*run.Run, error) {
	if !j.isPromised() {
		return nil, why
	}
	e := notStarted(j.id, why)
	r, _, err := d.runs.Refuse(run.Record{
		ID: j.id, Client: j.client, Backend: j.backend, Model: j.model, Session: j.session, Received: &j.created,
		Metadata: s.Metadata, Limits: s.Limits, Cause: outcome.Cause(e.Code), Message: e.Message,
	}, j.fingerprint[:], s.Asked)
	if err != nil {
		d.log.Error("a response that was promised is refused without a record", "run", j.id, "err", err)
		return nil, why
	}
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
