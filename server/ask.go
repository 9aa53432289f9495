package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"penstock/run"
	"penstock/server/anthropic"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

// delivery is how a request wants its answer.
type delivery struct {
	stream, usage bool
	background    bool // answered at once with what there is of it
}

// ask gives the handler that runs an agent for a request in a dialect.
func (d *daemon) ask(name string) web.Handler {
	s, _ := surfaceOf(name)
	return func(w *web.Reply, r *http.Request) error { return d.serveAsked(w, r, s) }
}

func (d *daemon) serveAsked(w *web.Reply, r *http.Request, s surface) error {
	arrived := time.Now()
	x := web.InfoOf(r)
	id, durable, err := web.RunID(r)
	if err != nil {
		return err
	}
	w.Header().Set("X-Run-Id", id)
	after, err := web.LastEventID(r)
	if err != nil {
		return err
	}
	own := newJob(id, x.Client, durable)
	j, how, err := d.launchOrAttach(w, r, s, own, arrived)
	if err == nil && how.background {
		err = j.promise(r.Context())
	}
	if err != nil {
		return err
	}
	x.RunID, x.Admitted = id, true
	x.Attrs = func() []slog.Attr { return j.logAttrs(j == own) }
	if j == own {
		after = -1 // a run that begins now has no events seen before: the header is of another stream
	}
	ctx := r.Context()
	if j.durable {
		var release func()
		ctx, release = d.readerContext(ctx)
		defer release()
	}
	a := j.answer(after)
	a.IncludeUsage, a.Insistent = how.usage, dialect.InsistentClient(r.Header)
	if j == own && j.discard {
		defer d.discard(j)
	}
	if j.session != "" {
		w.Header().Set(sessionHeader, j.session)
	}
	if err := d.deliver(ctx, w, x, j, s, how, a); err != nil {
		w.Header().Del(sessionHeader) // nothing was said in it
		return err
	}
	return nil
}

func (d *daemon) deliver(ctx context.Context, w *web.Reply, x *web.RequestInfo, j *job, s surface, how delivery, a *dialect.Answer) error {
	switch {
	case how.stream:
		return d.respondStream(ctx, w, x, j, s, a)
	case how.background && j.begun() && j.err == nil:
		return d.writeResponse(ctx, w, j.run, a)
	case how.background:
		web.WriteJSON(w, http.StatusOK, openai.ResponseState(a, openai.Queued, nil, dialect.End{}))
		return nil
	}
	return d.respondWhole(ctx, w, x, j, s, a)
}

// launchOrAttach reads and decodes the request, launches own for it or finds the job that
// has its run id, and keeps nothing else of it.
func (d *daemon) launchOrAttach(w *web.Reply, r *http.Request, s surface, own *job, arrived time.Time) (j *job, how delivery, err error) {
	body, held, err := d.intake.ReadBody(w, r)
	if err != nil {
		return nil, how, err
	}
	own.lease = held
	defer func() {
		if j != own {
			held.Release()
		}
	}()
	done, err := d.intake.AcquireDecoder(r.Context(), len(body))
	if err != nil {
		return nil, how, err
	}
	own.decoded = sync.OnceFunc(done)
	defer own.decoded()
	size := len(body) // the body itself is let go of
	own.reader = func(ctx context.Context) (func(), error) { return d.intake.AcquireReader(ctx, size) }
	q, err := s.decode(body, r.Header)
	if err != nil {
		return nil, how, err
	}
	x := web.InfoOf(r)
	var early *run.Pending
	if q.Background {
		own.durable = true
		own.answerEarly()
		early = &run.Pending{ID: own.id, Client: x.Client, Operator: x.Operator, Dialect: s.name, Session: q.Session, Received: arrived, Body: body}
	}
	j, err = d.findOrLaunch(r.Context(), w, x, q, own, arrived, early)
	return j, delivery{q.Stream, q.IncludeUsage, q.Background}, err
}

// findOrLaunch launches j for the request, or finds the one that has its run id already. early is
// what is kept of a request that is answered before its run has begun; nil of any other.
func (d *daemon) findOrLaunch(ctx context.Context, w *web.Reply, x *web.RequestInfo, q *dialect.Request, j *job, arrived time.Time, early *run.Pending) (*job, error) {
	if j.durable {
		var err error
		if j.fingerprint, err = q.Fingerprint(); err != nil {
			return nil, err
		}
		if old, err := d.jobs.find(j, runLookup{d.runs}); old != nil || err != nil {
			return old, err
		}
		if d.notDurable != nil {
			return nil, noDurable()
		}
	}
	spec, err := d.prepare(ctx, x, q, j, arrived)
	if err != nil {
		j.lock.Release()
		return nil, err
	}
	if names := dialect.IgnoredHeader(q.Ignored); names != "" {
		w.Header().Set("X-Penstock-Ignored", names)
	}
	j.model, j.backend, j.echo, j.discard = spec.Model, spec.Backend.Name(), q.Echo, spec.Discard
	j.limits, j.enforced, j.session = spec.Limits, d.spawner.Enforced(), spec.Session
	if j.durable {
		ctx = d.base
	}
	ctx, j.cancel = context.WithCancelCause(ctx)
	claimed, err := d.jobs.claim(j, runLookup{d.runs})
	if err != nil || claimed != j {
		j.lock.Release()
		j.cancel(nil)
		return claimed, err
	}
	if early != nil {
		early.Fingerprint = j.fingerprint[:]
		if err := d.runs.KeepPending(*early); err != nil {
			j.lock.Release()
			j.begin(nil, notKept(err))
			d.ended(j)
			return nil, notStarted(j.id, j.err)
		}
		j.pending = true
	}
	d.keys.Add(j.id)
	go d.launch(ctx, j, spec)
	return j, nil
}

// runLookup is what the jobs ask of the runs.
type runLookup struct{ runs *run.Manager }

func (k runLookup) known(id string) bool {
	return k.runs.Has(id)
}

func (k runLookup) ended(id string) (*job, error) {
	r, err := k.runs.Get(id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(err)
	}
	if err != nil || !isClosed(r.Ended()) {
		return nil, nil
	}
	j := jobOf(r)
	if j != nil {
		close(j.gone)
	}
	return j, nil
}

func (k runLookup) pruned(j *job) bool {
	return j.durable && k.runs.Pruned(j.id, j.client, j.fingerprint[:])
}

// discard leaves nothing but the record of a run whose answer is not to be stored.
func (d *daemon) discard(j *job) {
	go func() {
		<-j.gone
		if err := d.runs.DiscardOutput(j.id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("an answer that was not to be stored is not removed yet", "run", j.id, "err", err)
		}
	}()
}

// countTokens is POST /v1/messages/count_tokens.
func (d *daemon) countTokens(w *web.Reply, r *http.Request) error {
	body, held, err := d.intake.ReadBody(w, r)
	if err != nil {
		return err
	}
	defer held.Release()
	done, err := d.intake.AcquireDecoder(r.Context(), len(body))
	if err != nil {
		return err
	}
	defer done()
	q, err := anthropic.DecodeMessages(body, r.Header)
	if err != nil {
		return err
	}
	if _, _, err := d.backends.resolve(q.Model); err != nil {
		return err
	}
	w.Header().Set("X-Penstock-Estimated", "tokens")
	web.WriteJSON(w, http.StatusOK, map[string]int64{"input_tokens": anthropic.CountTokens(q.Messages)})
	return nil
}
