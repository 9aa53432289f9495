package server

import (
	"time"

	"penstock/backend"
	"penstock/config"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/web"
	"penstock/spawn"
)

// prepare checks the request against its backend and makes what a run needs.
func (d *daemon) prepare(q *dialect.Request, client string, arrived time.Time) (run.Spec, error) {
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
	if q.Effort != "" && features.Effort {
		if q.Effort, err = a.effortWord(q.Effort); err != nil {
			return run.Spec{}, err
		}
	}
	if q.Effort == "" || !features.Effort {
		q.Effort = ""
		q.NoteIgnored("effort", q.EffortField)
	}
	resumed := q.Session != "" && features.Resume && d.resumes(client, q.Session)
	turn, err := dialect.Prompt(q.Messages, resumed)
	if err != nil {
		return run.Spec{}, err
	}
	var again *run.PromptText
	if resumed {
		if whole, err := dialect.Prompt(q.Messages, false); err == nil {
			again = &run.PromptText{System: whole.System, Prompt: whole.Prompt}
		}
	}
	return run.Spec{
		Client: client, Model: q.Model, Backend: a.backend, Argv: a.config.Command, Env: a.env, User: a.user,
		Request: backend.Request{
			Model: model, System: turn.System, Prompt: turn.Prompt, Effort: q.Effort,
			Schema: q.Schema, AnyObject: q.AnyObject,
			Permissions: a.config.Permissions, MemoryMax: limits.MemoryMax.Bytes, Version: d.probes.Version(a.config.Name),
		},
		Cwd: cwd, Home: a.config.Home, HomeSeed: a.config.HomeSeed, Image: a.image, Session: q.Session, Fresh: again,
		Limits: resources(limits), Deadline: deadline(arrived, q.Timeout, limits),
		Grace: limits.Grace.Duration, Stall: limits.Stall.Duration, OutputMax: limits.OutputMax.Bytes, LineMax: limits.LineMax.Bytes,
		Metadata: q.Metadata, Received: &arrived,
		OpenCwd: a.opener(q.Cwd != "", d.config.WorkspaceRoots),
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
