package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// signals turns the first request to stop into the end of serving, and the
// second into the end of force.
type signals struct {
	serving, force context.Context
	stop           func()
}

func catchSignals(ctx context.Context, log *slog.Logger, hangUp func()) signals {
	serving, stopServing := context.WithCancelCause(ctx)
	force, stopForce := context.WithCancel(context.WithoutCancel(ctx))
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-caught:
				switch {
				case s == unix.SIGHUP:
					hangUp()
				case serving.Err() == nil:
					// The server says so, once, with the cause.
					stopServing(fmt.Errorf("signal: %s; a second one ends all runs at once", s))
				default:
					log.Warn("ending all runs at once", "signal", s.String())
					stopForce()
				}
			case <-ended:
				return
			}
		}
	}()
	return signals{serving: serving, force: force, stop: func() {
		signal.Stop(caught)
		close(ended)
		<-done
		stopServing(nil)
		stopForce()
	}}
}
