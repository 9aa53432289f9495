package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"penstock/admit"
	"penstock/config"
	"penstock/metrics"
	"penstock/run"
	"penstock/server/health"
	"penstock/server/listener"
	"penstock/server/web"
	"penstock/spawn"
)

// daemon is everything one Run needs; nothing of it is global, so that another
// program can embed it.
type daemon struct {
	config   config.Config
	version  string
	log      *slog.Logger
	logState func() health.LogState
	begun    time.Time
	front    *web.Front
	backends backends
	gate     *admit.Gate
	spawner  *spawn.Spawner
	runs     *run.Manager
	metrics  *metrics.Metrics
	jobs     *jobs
	intake   *web.Intake
	// notDurable is why durable runs are refused; nil where they are not.
	notDurable error
	probes     *health.Probes
	proc       *health.ProcSampler
	limits     *limitFollower

	connections listener.Connections
	accepting   sync.WaitGroup // one per listener
	draining    atomic.Bool
	base        context.Context // durable jobs live in it
	endBase     context.CancelCauseFunc
	reading     context.Context // who reads a durable run is attached while it lasts
	// endReading has errHandedOver.
	endReading context.CancelCauseFunc
	waiting    context.Context // jobs may wait for a turn and a slot while it lasts
	endWaiting context.CancelFunc
	// background are the sampler, the probe and the reader of new tokens.
	background     sync.WaitGroup
	stopBackground context.CancelFunc
}

// open builds the lower floors from the configuration, bottom up. On error it
// takes down again what it has built.
func open(ctx context.Context, c config.Config, o Options) (*daemon, error) {
	d := &daemon{config: c, version: o.Version, log: o.Logger, logState: o.Log, begun: time.Now(), jobs: newJobs(), intake: web.NewIntake()}
	var err error
	if d.backends, err = newBackends(c); err != nil {
		return nil, err
	}
	d.gate = admit.New(admit.Options{
		MaxRuns: c.Budget.MaxRuns, Budget: c.Budget.Memory.Bytes, DefaultMemory: c.Limits.MemoryMax.Bytes,
		MaxWaiting: c.Queue.MaxWaiting, MaxWait: c.Queue.MaxWait.Duration, Clients: gateClients(c), Overcommit: c.Budget.Overcommit,
	})
	d.metrics = metrics.New(metrics.Options{Version: o.Version, Commit: o.Commit, Clients: clientNames(c), Backends: d.backends.names(), Logger: o.Logger})
	d.front = &web.Front{Origins: web.NewOriginCheck(c), Tokens: web.NewTokens(c.Tokens), Operators: operators(c), Log: o.Logger, Observe: d.metrics.HTTPRequest}
	if err := d.openRuns(ctx, o); err != nil {
		return nil, err
	}
	d.metrics.Reaped(d.spawner.Swept().Processes)
	d.metrics.Watch(metrics.Sources{Snapshot: d.runs.Snapshot, Admission: d.gate.Stats, Isolation: d.spawner.Isolation, Health: d.healthMetrics})
	d.base, d.endBase = context.WithCancelCause(context.Background())
	d.reading, d.endReading = context.WithCancelCause(context.Background())
	d.waiting, d.endWaiting = context.WithCancel(context.Background())
	d.restoreJobs()
	d.startBackground(o)
	return d, nil
}

func (d *daemon) startBackground(o Options) {
	ctx, stop := context.WithCancel(context.Background())
	d.stopBackground = stop
	d.proc = health.NewProcSampler(d.log)
	d.limits = newLimitFollower(d)
	d.limits.follow(d.hostMemory())
	d.probes = health.NewProbes(d.backends.probeTargets(d.version), d.runs.ProbeVersion)
	d.background.Go(func() { d.proc.Loop(ctx) })
	d.background.Go(func() { d.probes.Loop(ctx) })
	d.background.Go(func() { d.front.Tokens.Follow(ctx, o.Tokens, d.renewed) })
	d.background.Go(func() { d.monitor(ctx, o.Beat) })
}

// close takes the floors down again, top first.
func (d *daemon) close(ctx context.Context) error {
	d.stopBackground()
	d.background.Wait()
	d.endBase(errDaemonEnds)
	d.endReading(nil)
	d.endWaiting()
	var errs []error
	if err := d.runs.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("close runs: %w", err))
	}
	if err := d.spawner.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("close groups: %w", err))
	}
	return errors.Join(errs...)
}
