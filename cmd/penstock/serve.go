package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"

	"github.com/spf13/cobra"

	"penstock/config"
	"penstock/server"
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
			"end the rest; a second one ends them at once. SIGHUP reads the configuration again: tokens and\n" +
			"log.level take effect, what needs a restart is named in the log, and a bad file changes nothing.",
		Args: cobra.NoArgs,
	}
	s := addSettings(cmd)
	banner := cmd.Flags().Bool("banner", false, "say on stdout where it serves and what holds the limits (default on a terminal)")
	cmd.RunE = a.work(func(ctx context.Context) error {
		c, err := s.load()
		if err != nil {
			return a.explain(err)
		}
		return a.serve(ctx, s, c, *banner || isTerminal(a.stdout))
	})
	return cmd
}

func (a *app) serve(ctx context.Context, s *settings, c config.Config, banner bool) error {
	var level slog.LevelVar
	log := newLogger(a.stderr, c.Log, &level)
	listeners, err := systemd.Listeners()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	// Go's vfork keeps its processor until the child's exec: with a single one
	// a child that is slow to be born stops the whole daemon.
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	watchdog, err := systemd.NewWatchdog()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	reloads := reloader{settings: s, running: c, log: log, level: &level, tokens: make(chan []config.Token, 1)}
	var ready atomic.Bool
	sig := catchSignals(ctx, log, func() {
		// A manager that waits for the first READY=1 must not take this one for it.
		if ready.Load() {
			report(log, systemd.Reloading())
			defer func() { report(log, systemd.Reloaded()) }()
		}
		reloads.reload()
	})
	defer sig.stop()
	b := readBuild()
	err = server.Run(sig.serving, c, server.Options{
		Logger: log, Version: b.Version, Commit: b.Commit, Force: sig.force, Listeners: listeners, Tokens: reloads.tokens,
		Beat: func(b server.Beat) { report(log, watchdog.Beat(!b.Wedged, b.Summary)) },
		Ready: func(addrs []net.Addr) {
			report(log, systemd.Ready(fmt.Sprintf("serving on %s", joinAddrs(addrs))))
			ready.Store(true)
			context.AfterFunc(sig.serving, func() { report(log, systemd.Stopping("draining")) })
			if banner {
				report(log, a.banner(c, b, addrs))
			}
		},
	})
	if errors.Is(err, context.Canceled) && sig.serving.Err() != nil {
		return nil // asked to stop before it had begun to serve
	}
	return err
}

// report logs what must not stop the daemon.
func report(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("not told", "error", err)
	}
}
