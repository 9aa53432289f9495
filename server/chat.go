package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"penstock/backend"
	"penstock/config"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spawn"
)

// chat is POST /v1/chat/completions.
func (d *daemon) chat(w *web.Reply, r *http.Request) error {
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
	j, streamed, usage, err := d.launchOrAttach(w, r, own, arrived)
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
	if streamed {
		return d.respondStream(ctx, w, x, j, usage, after)
	}
	return d.respondWhole(ctx, w, x, j)
}

// launchOrAttach reads and decodes the request, launches own for it or finds the job that
// has its run id, and keeps nothing else of it.
func (d *daemon) launchOrAttach(w *web.Reply, r *http.Request, own *job, arrived time.Time) (j *job, streamed, usage bool, err error) {
	body, held, err := d.intake.ReadBody(w, r)
	if err != nil {
		return nil, false, false, err
	}
	own.lease = held
	defer func() {
		if j != own {
			held.Release()
		}
	}()
	done, err := d.intake.AcquireDecoder(r.Context(), len(body))
	if err != nil {
		return nil, false, false, err
	}
	defer done()
	q, err := openai.Decode(body, r.Header)
	if err != nil {
		return nil, false, false, err
	}
	j, err = d.findOrLaunch(r.Context(), w, q, own, arrived)
	return j, q.Stream, q.IncludeUsage, err
}

// findOrLaunch launches j for the request, or finds the one that has its run id already.
func (d *daemon) findOrLaunch(ctx context.Context, w *web.Reply, q *openai.Request, j *job, arrived time.Time) (*job, error) {
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
		ctx = d.base
	}
	spec, err := d.prepare(q, j.client, arrived)
	if err != nil {
		return nil, err
	}
	if names := openai.IgnoredHeader(q.Ignored); names != "" {
		w.Header().Set("X-Penstock-Ignored", names)
	}
	spec.ID, j.model, j.backend = j.id, spec.Model, spec.Backend.Name()
	spec.Durable, spec.Fingerprint = j.durable, j.fingerprint[:]
	j.limits, j.enforced, j.session = spec.Limits, d.spawner.Enforced(), spec.Session
	ctx, j.cancel = context.WithCancelCause(ctx)
	claimed, err := d.jobs.claim(j, runLookup{d.runs})
	if err != nil || claimed != j {
		j.cancel(nil)
		return claimed, err
	}
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

// prepare checks the request against its backend and makes what a run needs.
func (d *daemon) prepare(q *openai.Request, client string, arrived time.Time) (run.Spec, error) {
	a, model, err := d.backends.resolve(q.Model)
	if err != nil {
		return run.Spec{}, err
	}
	if why := a.missing(); why != "" {
		d.metrics.StartFailed(a.config.Name, outcome.CLIMissing)
		return run.Spec{}, cliMissing(why)
	}
	known, err := d.imageOf(a)
	if err != nil {
		d.metrics.StartFailed(a.config.Name, outcome.StartFailed)
		return run.Spec{}, startFailed(&spawn.StartError{Cause: outcome.StartFailed, Err: err})
	}
	limits, err := lowerLimits(a.config.Limits, q.Limits)
	if err != nil {
		return run.Spec{}, err
	}
	if q.Limits.CPUMax > 0 && d.spawner.Enforced().CPU == "" {
		return run.Spec{}, web.BadRequest("limits.cpu_max", "limits.cpu_max can't be held on this host: cgroup v2 has no cpu controller here")
	}
	cwd, err := resolveCwd(q.Cwd, d.config.WorkspaceRoots)
	if err != nil {
		return run.Spec{}, err
	}
	if err := a.checkCwd(cwd, known, d.config.StateDir); err != nil {
		return run.Spec{}, err
	}
	if cwd == "" {
		cwd = a.config.Cwd
	}
	features := a.backend.Features()
	if err := a.checkSession(q.Session, known); err != nil {
		return run.Spec{}, err
	}
	if q.Effort != "" && !features.Effort {
		q.NoteIgnored("effort", "reasoning_effort")
	} else if q.Effort != "" {
		if q.Effort, err = a.effortWord(q.Effort); err != nil {
			return run.Spec{}, err
		}
		if q.Effort == "" {
			q.NoteIgnored("effort", "reasoning_effort")
		}
	}
	resumed := q.Session != "" && features.Resume && d.resumes(client, q.Session)
	system, prompt, err := openai.Prompt(q.Messages, resumed)
	if err != nil {
		return run.Spec{}, err
	}
	var again *run.PromptText
	if resumed {
		if system, prompt, ok := openai.FreshPrompt(q.Messages); ok {
			again = &run.PromptText{System: system, Prompt: prompt}
		}
	}
	return run.Spec{
		Client: client, Model: q.Model, Backend: a.backend, Argv: a.config.Command, Env: a.env, User: a.user,
		Request: backend.Request{
			Model: model, System: system, Prompt: prompt, Effort: q.Effort,
			Permissions: a.config.Permissions, MemoryMax: limits.MemoryMax.Bytes, Version: d.probes.Version(a.config.Name),
		},
		Cwd: cwd, Home: a.config.Home, HomeSeed: a.config.HomeSeed, Image: a.image, Session: q.Session, Fresh: again,
		Limits: resources(limits), Deadline: deadline(arrived, q.Timeout, limits),
		Grace: limits.Grace.Duration, Stall: limits.Stall.Duration, OutputMax: limits.OutputMax.Bytes, LineMax: limits.LineMax.Bytes,
		Metadata: q.Metadata,
		OpenCwd:  a.opener(q.Cwd != "", d.config.WorkspaceRoots),
	}, nil
}

// deadline counts from the request's arrival; a client may shorten it.
func deadline(arrived time.Time, asked time.Duration, l config.Limits) time.Time {
	bound := l.Timeout.Duration
	if asked > 0 && (bound == 0 || asked < bound) {
		bound = asked
	}
	if bound == 0 {
		return time.Time{}
	}
	return arrived.Add(bound)
}

// resumes tells whether the CLI knows the session, so that the client's copy
// of the conversation is not told to it a second time.
func (d *daemon) resumes(client, session string) bool {
	_, ok := d.runs.SessionKnown(client, session)
	return ok
}
