package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"time"

	"penstock/admit"
	"penstock/backend"
	"penstock/config"
	"penstock/internal/egress"
	"penstock/metrics"
	"penstock/run"
	"penstock/run/store"
	"penstock/sandbox"
	"penstock/server/conversation"
	"penstock/server/dialect"
	"penstock/server/health"
	"penstock/server/media"
	"penstock/server/web"
	"penstock/spawn"
)

// openRuns opens the groups and the runs in them, those of an earlier daemon
// included. When it fails, these live on as they were.
func (d *daemon) openRuns(ctx context.Context, o Options) error {
	c := d.config
	// Before the groups: what another daemon runs in them would be swept.
	lock, err := lockState(c.StateDir, o.Lock)
	if err != nil {
		return err
	}
	keep, err := lock.Leftovers(d.bounds)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	if d.images, err = openImages(ctx, c, o.UnpackImage, o.Logger); err != nil {
		return errors.Join(err, lock.Close())
	}
	options := spawnOptions(c, d.backends, o.Logger)
	if options.Runtime, err = d.openRuntime(ctx, o); err != nil {
		return errors.Join(err, d.images.Close(), lock.Close())
	}
	opened := false
	defer func() {
		if !opened {
			d.closeProcess1()
		}
	}()
	protect := lock.Protect()
	protect = append(protect, protectImages(d.images, protect)...)
	options.ImagePaths = imagePaths(d.images, protect)
	options.Cgroup.Origin, options.SleepCommand, options.ReapOrphans, options.Keep, options.ProtectPaths = o.Origin, o.SleepCommand, o.ReapOrphans, keep, protect
	d.spawner, err = spawn.Open(ctx, options)
	if err != nil {
		return errors.Join(err, d.images.Close(), lock.Close())
	}
	if err := checkEnforced(c, d.spawner.Enforced()); err != nil {
		return errors.Join(err, d.images.Close(), d.spawner.Abandon(context.WithoutCancel(ctx)), lock.Close())
	}
	if d.notDurable = d.backends.recordsExposed(d.spawner.Isolation()); d.notDurable != nil {
		o.Logger.Warn("durable runs are refused: runs could write to what the daemon believes of them (hint: a directory state_dir.store beside it (mode 0700) where its parents aren't writable, XDG_RUNTIME_DIR set, or a daemon as root)", "err", d.notDurable)
	}
	d.runs, err = run.Open(ctx, run.Options{
		StateDir: c.StateDir, Lock: lock, Spawner: d.spawner, Logger: o.Logger, Observer: d.metrics,
		Keep: c.Keep.Age.Duration, KeepRuns: c.Keep.Runs, KeepBytes: c.Keep.Size.Bytes, MinFree: c.Keep.MinFree.Bytes,
		Bounds: d.bounds, NotDurable: d.notDurable, Images: d.images, Backends: d.backends.adapterOf, Adopted: d.adopted, Renew: d.renew, Stop: ctx,
	})
	if err != nil {
		return errors.Join(err, d.images.Close(), d.spawner.Abandon(context.WithoutCancel(ctx)))
	}
	opened = true
	return nil
}

// spawnOptions are those that the configuration says.
func spawnOptions(c config.Config, a backends, log *slog.Logger) spawn.Options {
	return spawn.Options{
		Cgroup:   spawn.GroupOptions{Mode: spawn.Mode(c.Isolation.Mode), Name: c.GroupName(), Budget: c.Budget.Memory.Bytes, Logger: log},
		SelfTest: c.Isolation.SelfTest,
		Mask: sandbox.MaskPaths{
			Paths: c.Isolation.Hide, ReadOnly: c.Isolation.ReadOnly, Users: a.users(), AbstractSockets: c.Isolation.AbstractSockets,
		},
		Logger: log,
	}
}

func lockState(dir string, left *os.File) (*store.Lock, error) {
	if left == nil {
		return store.LockDir(dir)
	}
	return store.InheritLock(dir, left)
}

func (a backends) adapterOf(name string) (backend.Backend, bool) {
	found, ok := a[name]
	if !ok {
		return nil, false
	}
	return found.backend, true
}

// renew is what a backend is started with now.
func (d *daemon) renew(name string) (run.Spec, bool) {
	a, ok := d.backends[name]
	if !ok || a.missing() != "" {
		return run.Spec{}, false
	}
	return run.Spec{
		Argv: a.config.Command, Env: a.env, User: a.user, Home: a.config.Home, HomeSeed: a.config.HomeSeed, Image: a.image,
		OpenCwd: a.opener(false, d.config.WorkspaceRoots),
	}, true
}

// bounds are a backend's limits as they are now, for runs of an earlier daemon. A
// backend that isn't configured any more has none to be held to: its runs keep
// what they have. Where its kind isn't told, an earlier version has kept their
// figures where they could write them: they are held to the general limits.
func (d *daemon) bounds(name, kind string) run.Bounds {
	l := d.config.Limits
	if a, ok := d.backends[name]; ok {
		l = a.config.Limits
	} else if kind != "" {
		return run.Bounds{Grace: math.MaxInt64}
	}
	return run.Bounds{
		Limits:  resources(config.Limits{MemoryMax: l.MemoryMax, PidsMax: l.PidsMax}),
		Timeout: l.Timeout.Duration, Grace: l.Grace.Duration, Stall: l.Stall.Duration, OutputMax: l.OutputMax.Bytes, LineMax: l.LineMax.Bytes,
	}
}

// recordsExposed says why runs can write to what the daemon believes of durable ones;
// nil where nothing can: there is a wall, or all are other users.
func (a backends) recordsExposed(is spawn.Isolation) error {
	if is.Store != sandbox.Unprotected {
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
	return func(last run.Record) { releaseSlot(slot, last) }
}

// restoreJobs makes the durable runs of an earlier daemon that live known by their
// requests, so that the same request attaches and another one is a conflict.
func (d *daemon) restoreJobs() {
	for _, r := range d.runs.Live() {
		j := jobOf(r)
		if j == nil {
			continue
		}
		d.jobs.restore(j)
		d.superviseRun(d.base, r, func() {
			d.jobs.ended(j)
			close(j.gone)
		})
	}
}

// jobOf is the job of a run that an earlier request has started; nil where that can't
// be attached to again.
func jobOf(r *run.Run) *job {
	if len(r.Fingerprint()) != len(dialect.Fingerprint{}) {
		return nil
	}
	c := r.Record()
	j := newJob(c.ID, c.Client, true)
	j.fingerprint = dialect.Fingerprint(r.Fingerprint())
	j.model, j.backend, j.created = c.Model, c.Backend, received(c)
	j.begin(r, nil)
	return j
}

// openFetcher lets URLs in requests be fetched, where the operator allows it.
func (d *daemon) openFetcher() error {
	a := d.config.Attachments
	if !a.Fetch {
		return nil
	}
	rules, err := egress.Parse(a.FetchHosts)
	if err != nil {
		return fmt.Errorf("attachments.fetch_hosts: %w", err)
	}
	d.fetcher = media.NewFetcher(rules, a.FetchMax.Bytes, a.FetchTimeout.Duration)
	return nil
}

// received is when the request of a run came; of an older daemon's run it is not known.
func received(r run.Record) time.Time {
	if r.Received != nil {
		return *r.Received
	}
	return r.Created
}

// gateClients are the clients' parts in admission, by the client that asks.
func gateClients(c config.Config) map[string]admit.Client {
	out := map[string]admit.Client{}
	for name, client := range c.Clients {
		out[config.ClientID(name)] = admit.Client{MaxRuns: client.MaxRuns, Reserved: client.ReservedRuns, Weight: client.Weight}
	}
	return out
}

// operators are the clients that may see and end others' runs.
func operators(c config.Config) map[string]bool {
	out := map[string]bool{}
	for name, client := range c.Clients {
		out[config.ClientID(name)] = client.Operator
	}
	return out
}

// clientNames are those that metrics count apart.
func clientNames(c config.Config) []string {
	out := []string{web.Anonymous}
	for name := range c.Clients {
		out = append(out, config.ClientID(name))
	}
	for _, t := range c.Tokens {
		out = append(out, t.Name)
	}
	return out
}

// renewed tells the metrics which clients are counted apart from now on.
func (d *daemon) renewed(tokens []config.Token) {
	c := d.config
	c.Tokens = tokens
	d.metrics.SetClients(clientNames(c))
}

// open builds the lower floors from the configuration, bottom up. On error it
// takes down again what it has built.
func open(ctx context.Context, c config.Config, o Options) (*daemon, error) {
	d := &daemon{config: c, version: o.Version, log: o.Logger, logState: o.Log, begun: time.Now(), jobs: newJobs(), keys: &conversation.Keys{}, intake: web.NewIntake(), replies: web.NewIntake()}
	var err error
	if d.backends, err = newBackends(c); err != nil {
		return nil, err
	}
	d.backends.setImages(c)
	d.gate = admit.New(admit.Options{
		MaxRuns: c.Budget.MaxRuns, Budget: c.Budget.Memory.Bytes, DefaultMemory: c.Limits.MemoryMax.Bytes,
		MaxWaiting: c.Queue.MaxWaiting, MaxWait: c.Queue.MaxWait.Duration, Clients: gateClients(c), Overcommit: c.Budget.Overcommit,
	})
	d.metrics = metrics.New(metrics.Options{Version: o.Version, Commit: o.Commit, Clients: clientNames(c), Backends: d.backends.names(), Logger: o.Logger})
	d.front = &web.Front{
		Origins: web.NewOriginCheck(c), Tokens: web.NewTokens(c.Tokens), Operators: operators(c), Shape: shapeOf, Log: o.Logger, Observe: d.metrics.HTTPRequest,
	}
	if err := d.openFetcher(); err != nil {
		return nil, err
	}
	if err := d.openRuns(ctx, o); err != nil {
		return nil, err
	}
	d.metrics.Reaped(d.spawner.Swept().Processes)
	d.metrics.Watch(metrics.Sources{Snapshot: d.runs.Snapshot, Admission: d.gate.Stats, Isolation: d.spawner.Isolation, Health: d.healthMetrics})
	d.base, d.endBase = context.WithCancelCause(context.Background())
	d.reading, d.endReading = context.WithCancelCause(context.Background())
	d.waiting, d.endWaiting = context.WithCancel(context.Background())
	d.conversations = &conversation.Store{Runs: d.runs, Keys: d.keys, Log: d.log}
	d.keys.Kept = d.runs.Has
	for _, id := range d.runs.IDs() {
		d.keys.Add(id)
	}
	d.restoreJobs()
	d.startBackground(o)
	d.images.Start()
	d.restorePending()
	return d, nil
}

func (d *daemon) startBackground(o Options) {
	ctx, stop := context.WithCancel(context.Background())
	d.stopBackground = stop
	d.proc = health.NewProcSampler(d.log)
	d.limits = newLimitFollower(d.config, d.log, d.gate, d.spawner)
	d.limits.follow(d.hostMemory())
	d.probes = health.NewProbes(d.backends.probeTargets(d.version), d.runs.ProbeVersion)
	d.background.Go(func() { d.proc.Loop(ctx) })
	d.background.Go(func() { d.probes.Loop(ctx) })
	d.background.Go(func() { d.front.Tokens.Follow(ctx, o.Tokens, d.renewed) })
	d.background.Go(func() { d.monitor(ctx, o.Beat) })
	go d.followImages(ctx, o.Images)
}
