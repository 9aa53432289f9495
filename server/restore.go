package server

import (
	"context"
	"errors"
	"os"

	"penstock/admit"
	"penstock/backend"
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
	keep, err := lock.Live()
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	d.spawner, err = spawn.Open(ctx, spawn.Options{
		Cgroup: spawn.GroupOptions{
			Mode: spawn.Mode(c.Isolation.Mode), Name: c.GroupName(), Budget: c.Budget.Memory, Origin: o.Origin, Logger: o.Logger,
		},
		SelfTest: c.Isolation.SelfTest,
		Keep:     keep,
		Hide: spawn.Hiding{
			Paths: c.Isolation.Hide, ReadOnly: c.Isolation.ReadOnly, Users: d.agents.users(), AbstractSockets: c.Isolation.AbstractSockets,
		},
		Logger: o.Logger,
	})
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	if err := capsHold(c, d.spawner.Enforced()); err != nil {
		return errors.Join(err, d.spawner.Abandon(context.WithoutCancel(ctx)), lock.Close())
	}
	d.runs, err = run.Open(ctx, run.Options{
		StateDir: c.StateDir, Lock: lock, Spawner: d.spawner, Logger: o.Logger, Observer: d.metrics,
		Keep: c.Keep.Age, KeepRuns: c.Keep.Runs, KeepBytes: c.Keep.Size,
		LineMax: d.agents.lineMax(), Backends: d.agents.adapter, Adopted: d.adopted,
	})
	if err != nil {
		return errors.Join(err, d.spawner.Abandon(context.WithoutCancel(ctx)))
	}
	return nil
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

// lineMax is the longest line that any backend is allowed.
func (a agents) lineMax() (most int64) {
	for _, one := range a {
		most = max(most, one.config.Limits.LineMax)
	}
	return most
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
