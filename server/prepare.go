package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"penstock/backend"
	"penstock/config"
	"penstock/image"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/conversation"
	"penstock/server/dialect"
	"penstock/server/media"
	"penstock/server/web"
	"penstock/spawn"
)

// prepare checks the request that j is for against its backend and makes what a run needs. What
// it claims of a session is given back by j.
func (d *daemon) prepare(ctx context.Context, x *web.RequestInfo, q *dialect.Request, j *job, arrived time.Time) (run.Spec, error) {
	a, model, err := d.backends.resolve(q.Model)
	if err != nil {
		return run.Spec{}, err
	}
	known, err := d.available(a)
	if err != nil {
		return run.Spec{}, err
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
	if err := a.checkSession(q.Session, known); err != nil {
		return run.Spec{}, err
	}
	if err := a.takeEffort(q); err != nil {
		return run.Spec{}, err
	}
	t, err := d.conversations.Thread(ctx, q, conversation.Asker{
		Info: x, Run: j.id, Backend: a.config.Name, Repeats: d.continuity(x.Client) == config.ContinuityPrefix,
		Resumes: a.backend.Features().Resume && a.checkSession("any", known) == nil,
		Turn:    j.reader, Lease: j.lease,
	})
	if err != nil {
		return run.Spec{}, err
	}
	j.lock, j.remember = t.Lock, t.Remember
	attachments, err := d.attachments(ctx, a, t.Turn.Parts, j)
	if err != nil {
		return run.Spec{}, err
	}
	s := run.Spec{
		ID: j.id, Durable: j.durable, Fingerprint: j.fingerprint[:],
		Client: x.Client, Model: q.Model, Backend: a.backend, Argv: a.config.Command, Env: a.env, User: a.user,
		Request: backend.Request{
			Model: model, System: t.Turn.System, Prompt: t.Turn.Prompt, Attachments: attachments, Effort: q.Effort,
			Schema: q.Schema, AnyObject: q.AnyObject,
			Permissions: a.config.Permissions, MemoryMax: limits.MemoryMax.Bytes, Version: d.probes.Version(a.config.Name),
		},
		Cwd: cwd, Home: a.config.Home, HomeSeed: a.config.HomeSeed, Image: a.image, Session: t.Session, SessionOfRun: t.OfRun, SessionLock: t.Lock,
		Limits: resources(limits), Deadline: deadline(arrived, q.Timeout, limits),
		Grace: limits.Grace.Duration, Stall: limits.Stall.Duration, OutputMax: limits.OutputMax.Bytes, LineMax: limits.LineMax.Bytes,
		Metadata: q.Metadata, Received: &arrived, Discard: q.Discard,
		OpenCwd: a.opener(q.Cwd != "", d.config.WorkspaceRoots),
	}
	if t.Whole != nil {
		s.Fresh = &run.PromptText{System: t.Whole.System, Prompt: t.Whole.Prompt, Attachments: attachments}
	}
	if q.Asked != nil {
		s.Asked, err = json.Marshal(q.Asked)
	}
	return s, err
}

// continuity is how a client's conversations without an id are found.
func (d *daemon) continuity(client string) string {
	for name, c := range d.config.Clients {
		if client == config.ClientID(name) {
			return c.Continuity
		}
	}
	return ""
}

// available refuses a backend that can't run now; known is the image that it is in.
func (d *daemon) available(a *configuredBackend) (known image.Known, err error) {
	if why := a.missing(); why != "" {
		d.metrics.StartFailed(a.config.Name, outcome.CLIMissing)
		return known, cliMissing(why)
	}
	if known, err = d.imageOf(a); err != nil {
		d.metrics.StartFailed(a.config.Name, outcome.StartFailed)
		return known, startFailed(&spawn.StartError{Cause: outcome.StartFailed, Err: err})
	}
	return known, nil
}

// inField is a refusal under the name that its field has in the dialect; "" leaves penstock's own.
func inField(err error, field string) error {
	if e := (*web.Error)(nil); field != "" && errors.As(err, &e) {
		e.Param = field
	}
	return err
}

// takeEffort puts the backend's own word for the effort in the place of the client's.
func (a *configuredBackend) takeEffort(q *dialect.Request) (err error) {
	if q.Effort != "" && a.backend.Features().Effort {
		if q.Effort, err = a.effortWord(q.Effort); err != nil {
			return inField(err, q.EffortField)
		}
	} else {
		q.Effort = ""
	}
	if q.Effort == "" {
		q.NoteIgnored("effort", q.EffortField)
	}
	return nil
}

// attachments are the parts of a turn, as far as the backend takes such. What is at URLs is
// fetched, without the decoder's turn.
func (d *daemon) attachments(ctx context.Context, a *configuredBackend, parts []dialect.Part, j *job) ([]backend.Attachment, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	sources := make([]media.Source, len(parts))
	for i, p := range parts {
		sources[i] = p.Source
	}
	batch, err := media.Decode(sources)
	if err != nil {
		return nil, err
	}
	j.decoded()
	out, err := batch.Fetch(ctx, d.fetcher, j.lease)
	if err != nil {
		return nil, err
	}
	features := a.backend.Features()
	for i, one := range out {
		what, taken, others := "files", features.Files, func(f backend.Features) bool { return f.Files }
		if one.IsImage() {
			what, taken, others = "images", features.Images, func(f backend.Features) bool { return f.Images }
		}
		if !taken {
			return nil, web.BadRequest(parts[i].Where, "backend %s takes no %s; those that do: %s", a.config.Name, what, cmp.Or(strings.Join(d.backends.with(others), ", "), "none here"))
		}
	}
	return out, nil
}

// with are the names of the backends that have a feature and can run.
func (a backends) with(has func(backend.Features) bool) (names []string) {
	for _, name := range a.names() {
		if a[name].config.Missing == "" && has(a[name].backend.Features()) {
			names = append(names, name)
		}
	}
	return names
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
