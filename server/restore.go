package server

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"

	"penstock/admit"
	"penstock/backend"
	"penstock/config"
	"penstock/run"
	"penstock/spawn"
)

// openRuns opens the groups and the runs in them, those of an earlier daemon
// included. When it fails, these live on as they were.
func (d *daemon) openRuns(ctx context.Context, o Options) error {
	c := d.config
	// Before the groups: what another daemon runs in them would be swept.
	lock, err := hold(c.StateDir, o.Lock)
	if err != nil {
		return err
	}
	keep, err := lock.Live(d.bounds)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	cage := cageOptions(c, d.agents, o.Logger)
	cage.Cgroup.Origin, cage.Nap, cage.ReapOrphans, cage.Keep, cage.Protect = o.Origin, o.Nap, o.ReapOrphans, keep, lock.Protect()
	d.spawner, err = spawn.Open(ctx, cage)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	if err := capsHold(c, d.spawner.Enforced()); err != nil {
		return errors.Join(err, d.spawner.Abandon(context.WithoutCancel(ctx)), lock.Close())
	}
	if d.notDurable = d.agents.unwalled(d.spawner.Isolation()); d.notDurable != nil {
		o.Logger.Warn("durable runs are refused: runs could write to what the daemon believes of them (hint: a directory state_dir.store beside it (mode 0700) where its parents aren't writable, XDG_RUNTIME_DIR set, or a daemon as root)", "err", d.notDurable)
	}
	d.runs, err = run.Open(ctx, run.Options{
		StateDir: c.StateDir, Lock: lock, Spawner: d.spawner, Logger: o.Logger, Observer: d.metrics,
		Keep: c.Keep.Age, KeepRuns: c.Keep.Runs, KeepBytes: c.Keep.Size, MinFree: c.Keep.MinFree,
		Bounds: d.bounds, NotDurable: d.notDurable, Backends: d.agents.adapter, Adopted: d.adopted, Renew: d.renew, Stop: ctx,
	})
	if err != nil {
		return errors.Join(err, d.spawner.Abandon(context.WithoutCancel(ctx)))
	}
	return nil
}

// cageOptions are those that the configuration says.
func cageOptions(c config.Config, a agents, log *slog.Logger) spawn.Options {
	return spawn.Options{
		Cgroup:   spawn.GroupOptions{Mode: spawn.Mode(c.Isolation.Mode), Name: c.GroupName(), Budget: c.Budget.Memory, Logger: log},
		SelfTest: c.Isolation.SelfTest,
		Hide: spawn.Hiding{
			Paths: c.Isolation.Hide, ReadOnly: c.Isolation.ReadOnly, Users: a.users(), AbstractSockets: c.Isolation.AbstractSockets,
		},
		Logger: log,
	}
}

func hold(dir string, left *os.File) (*run.Lock, error) {
	if left == nil {
		return run.Hold(dir)
	}
	return run.Inherit(dir, left)
}

func (a agents) adapter(name string) (backend.Backend, bool) {
	found, ok := a[name]
	if !ok {
		return nil, false
	}
	return found.adapter, true
}

// renew is what a backend is started with now.
func (d *daemon) renew(name string) (run.Spec, bool) {
	a, ok := d.agents[name]
	if !ok || a.missing() != "" {
		return run.Spec{}, false
	}
	return run.Spec{
		Argv: a.config.Command, Env: a.env, User: a.user, Home: a.config.Home, HomeSeed: a.config.HomeSeed,
		OpenCwd: a.opener(false, d.config.WorkspaceRoots),
	}, true
}

// bounds are a backend's limits as they are now, for runs of an earlier daemon. A
// backend that isn't configured any more has none to be held to: its runs keep
// what they have. Where its kind isn't told, an earlier version has kept their
// figures where they could write them: they are held to the general limits.
func (d *daemon) bounds(name, kind string) run.Bounds {
	l := d.config.Limits
	if a, ok := d.agents[name]; ok {
		l = a.config.Limits
	} else if kind != "" {
		return run.Bounds{Grace: math.MaxInt64}
	}
	return run.Bounds{
		Limits:  spawn.Resources(spawn.Limits{MemoryMax: l.MemoryMax, PidsMax: l.PidsMax}),
		Timeout: l.Timeout, Grace: l.Grace, Stall: l.Stall, OutputMax: l.OutputMax, LineMax: l.LineMax,
	}
}

// unwalled says why runs can write to what the daemon believes of durable ones;
// nil where nothing can: there is a wall, or all are other users.
func (a agents) unwalled(is spawn.Isolation) error {
	if is.Store != spawn.NoWall {
		return nil
	}
	for _, one := range a {
		if one.user == nil || int(one.user.UID) == os.Geteuid() {
			return is.StoreOpen
		}
	}
	return nil
}

// adopted gives a run of an earlier daemon the slot it holds.
func (d *daemon) adopted(r run.Record) (gone func(run.Record)) {
	slot := d.gate.Adopt(admit.Ask{Client: r.Client, Backend: r.Backend, Memory: memoryOf(r.Limits)})
	return func(last run.Record) { giveBack(slot, last) }
}

// restore makes the durable runs of an earlier daemon known by their requests,
// so that the same request attaches and another one is a conflict.
func (d *daemon) restore() {
	for _, c := range d.runs.List(run.Filter{}) {
		r, ok := d.runs.Get(c.ID)
		if !ok || len(r.Fingerprint()) != len(fingerprint{}) {
			continue
		}
		j := newJob(c.ID, c.Client, true)
		j.fingerprint = fingerprint(r.Fingerprint())
		j.model, j.backend, j.created = c.Model, c.Backend, c.Created
		j.begin(r, nil)
		d.jobs.restore(j)
		if isClosed(r.Ended()) {
			close(j.gone)
			d.jobs.ended(j)
			continue
		}
		go func() {
			defer close(j.gone)
			defer d.jobs.ended(j)
			d.attend(d.base, r)
		}()
	}
}
