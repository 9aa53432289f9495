package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"penstock/cmd/penstock/process1"
	"penstock/cmd/penstock/terminal"
	"penstock/config"
	"penstock/image"
	"penstock/server"
	"penstock/spawn"
	"penstock/systemd"
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve",
		// What the unit calls it: a command line with "serve" in it is what
		// people kill dev servers by.
		Aliases: []string{"daemon"},
		Short:   "Run the daemon",
		Long: "Runs the daemon in the foreground. SIGTERM and SIGINT let live runs finish for drain_timeout and\n" +
			"end the rest; a second one ends them at once. SIGHUP reads the configuration again: tokens,\n" +
			"images and log.level take effect, what needs a restart is named in the log, and a bad file changes nothing.\n" +
			"SIGUSR2 hands over to the program that is installed now, see handover.",
		Args: cobra.NoArgs,
	}
	s := addSettings(cmd)
	banner := cmd.Flags().Bool("banner", false, "say on stdout where it serves and what holds the limits (default on a terminal)")
	state := addDryRun(cmd)
	cmd.RunE = a.work(func(ctx context.Context) error {
		if cmd.Flags().Changed(dryRunFlag) {
			return a.dryRun(s, *state)
		}
		c, err := a.loadUnlessStopped(s)
		if err != nil {
			return a.explain(err)
		}
		return a.serve(ctx, s, c, *banner || terminal.Is(a.stdout))
	})
	return cmd
}

// service is one daemon process, in which a server runs, or several one after
// the other where a handover has failed.
type service struct {
	app       *app
	config    config.Config
	log       *slog.Logger
	logged    *sink // what log is written through
	reloads   *reloader
	watchdog  *systemd.Watchdog
	build     build
	banner    bool
	inherited systemd.Inherited
	origin    *spawn.Origin
	reclaimed bool // given is what a successor didn't get
	stopping  bool // a stop was asked for in between
}

func (a *app) serve(ctx context.Context, s *settings, c config.Config, banner bool) error {
	var level slog.LevelVar
	log, logged := newLogger(a.stderr, c.Log, &level)
	out := newSink(a.stdout, nil)
	a.stderr, a.stdout, a.sinks = logged, out, []*sink{logged, out}
	given, err := systemd.Inherit()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	origin, err := originIn(given.Handover)
	report(log, err)
	// Go's vfork keeps its processor until the child's exec: with a single one
	// a child that is slow to be born stops the whole daemon.
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	if os.Getenv("GOGC") == "" {
		serving, served := context.WithCancel(ctx)
		defer served()
		go tuneGC(serving)
	}
	watchdog, err := systemd.NewWatchdog()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	d := &service{
		app: a, config: c, log: log, logged: logged, watchdog: watchdog, build: readBuild(), banner: banner, inherited: given, origin: origin,
		reloads: &reloader{settings: s, running: c, log: log, level: &level, tokens: make(chan []config.Token, 1), images: make(chan []image.Source, 1)},
	}
	next, err := newSuccessor(d)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	for {
		sig, err := d.run(ctx, next)
		left, ok := errors.AsType[*server.HandedOver](err)
		if !ok {
			sig.stop()
			return err
		}
		if err := d.reexec(next, sig, left); err != nil {
			return err
		}
	}
}

// run serves once. The signals are the caller's to stop.
func (d *service) run(ctx context.Context, next *successor) (*signals, error) {
	log := d.log
	var ready atomic.Bool
	caught := d.app.caught
	d.app.caught = nil
	if caught == nil {
		caught = catch()
	}
	sig := followSignals(ctx, caught, log, func() {
		// A manager that waits for READY=1 must not take this one for it.
		if ready.Load() {
			report(log, systemd.Reloading())
			defer func() { report(log, systemd.Reloaded()) }()
		}
		d.reloads.reload()
	})
	if d.stopping {
		report(log, unix.Kill(os.Getpid(), unix.SIGTERM)) // now it is heard
	}
	// A stop that comes before the runs of the daemon before this one are known
	// would leave them.
	serving, begin := sig.serving, func() {}
	if d.inherited.Lock != nil {
		later, end := context.WithCancelCause(context.WithoutCancel(ctx))
		serving = later
		begin = func() { context.AfterFunc(sig.serving, func() { end(context.Cause(sig.serving)) }) }
	}
	err := d.serveUntil(sig.force, func() error {
		return server.Run(serving, d.config, server.Options{
			Process1:     func() (*os.File, []string, error) { return process1.Open(log) },
			SleepCommand: nap(), UnpackImage: unpackImage(), Images: d.reloads.images,
			Logger: log, Version: d.build.Version, Commit: d.build.Commit, Force: sig.force, Tokens: d.reloads.tokens,
			Listeners: d.inherited.Listeners, Unlink: d.inherited.Own(), Lock: d.inherited.Lock, Origin: d.origin, Log: d.logged.state, ReapOrphans: true,
			Beat: func(b server.Beat) { report(log, d.watchdog.Beat(!b.Wedged, b.Summary)) },
			Handover: &server.Handover{Asked: sig.handover, Check: func(ctx context.Context, g server.HandoverState) error {
				if err := next.check(ctx, g); err != nil {
					return err
				}
				ready.Store(false)
				report(log, systemd.Reloading())
				return nil
			}},
			Ready: func(addrs []net.Addr) {
				report(log, systemd.Ready(fmt.Sprintf("serving on %s", joinAddrs(addrs))))
				ready.Store(true)
				context.AfterFunc(serving, func() { report(log, systemd.Stopping("draining")) })
				d.received()
				begin()
				if d.banner {
					report(log, d.app.banner(d.config, d.build, addrs))
				}
			},
		})
	})
	if errors.Is(err, context.Canceled) && serving.Err() != nil {
		err = nil // asked to stop before it had begun to serve
	}
	return sig, err
}

// forceMax is how long the end may take that a second stop has asked for, with
// all of its own bounds met.
const forceMax = 60 * time.Second

// serveUntil gives up what doesn't end: a file system that hangs holds a
// system call, and so its caller, for as long as it likes.
func (d *service) serveUntil(force context.Context, serve func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	select {
	case err := <-ended:
		return err
	case <-force.Done():
	}
	timer := time.NewTimer(forceMax)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		return fmt.Errorf("serve: not ended %s after the second signal: given up; penstock reap, or the next start, finds what is left", forceMax)
	}
}

// earlyStopMax is how long a successor that is stopped goes on reading its configuration.
const earlyStopMax = 10 * time.Second

// loadUnlessStopped is load, cut short by a stop where signals are caught already: in a
// successor. What was handed over to it is its to end, so the first stop is kept until
// that is taken over; a second one, or a file that can't be read in time, ends it.
func (a *app) loadUnlessStopped(s *settings) (config.Config, error) {
	if a.caught == nil {
		return s.load()
	}
	type loaded struct {
		config config.Config
		err    error
	}
	done := make(chan loaded, 1)
	go func() {
		c, err := s.load()
		done <- loaded{c, err}
	}()
	select {
	case l := <-done:
		return l.config, l.err
	case first := <-a.caught.stop:
		timer := time.NewTimer(earlyStopMax)
		defer timer.Stop()
		select {
		case l := <-done:
			a.caught.stop <- first
			return l.config, l.err
		case <-a.caught.stop:
		case <-timer.C:
		}
		return config.Config{}, fmt.Errorf("serve: signal: %s: before the configuration was read", first)
	}
}

// report logs what must not stop the daemon.
func report(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("not told", "error", err)
	}
}
