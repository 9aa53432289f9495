package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/systemd"
)

// signals turns the first request to stop into the end of serving, the second
// into the end of force, and SIGUSR2 into a request to hand over.
type signals struct {
	serving, force context.Context
	handover       chan struct{} // has room for one
	hangUp         func()
	log            *slog.Logger

	stopServing context.CancelCauseFunc
	stopForce   context.CancelFunc
	caught      chan os.Signal
	ended, done chan struct{}
}

// handled are the signals that mean something to a daemon.
func handled() []syscall.Signal {
	return []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR2}
}

// followSignals takes a channel that catch gave.
func followSignals(ctx context.Context, caught chan os.Signal, log *slog.Logger, hangUp func()) *signals {
	s := &signals{
		log: log, hangUp: hangUp, handover: make(chan struct{}, 1),
		caught: caught, ended: make(chan struct{}), done: make(chan struct{}),
	}
	s.serving, s.stopServing = context.WithCancelCause(ctx)
	s.force, s.stopForce = context.WithCancel(context.WithoutCancel(ctx))
	go s.follow()
	return s
}

func (s *signals) follow() {
	defer close(s.done)
	for {
		select {
		case sig := <-s.caught:
			s.take(sig)
		case <-s.ended:
			return
		}
	}
}

func (s *signals) take(sig os.Signal) {
	stopping := s.serving.Err() != nil
	switch {
	case sig == unix.SIGHUP:
		s.hangUp()
	case sig == unix.SIGUSR2 && stopping:
		s.log.Warn("no handover: the daemon is being stopped")
	case sig == unix.SIGUSR2:
		select {
		case s.handover <- struct{}{}:
		default: // one is to come
		}
	case !stopping:
		// The server says so, once, with the cause.
		s.stopServing(fmt.Errorf("signal: %s; a second one ends all runs at once", sig))
	default:
		s.log.Warn("ending all runs at once", "signal", sig.String())
		s.stopForce()
	}
}

// stop takes no more signals.
func (s *signals) stop() {
	s.end()
	s.stopServing(nil)
	s.stopForce()
}

// end takes no more signals and tells whether a stop was asked for until now.
func (s *signals) end() (stopping bool) {
	signal.Stop(s.caught)
	close(s.ended)
	<-s.done
	for {
		select {
		case sig := <-s.caught:
			s.take(sig)
		default:
			return s.serving.Err() != nil
		}
	}
}

// caughtEarly is for the first line of a successor: a SIGTERM that finds no
// handler yet ends it as a crash does. Nil for any other program.
func caughtEarly() chan os.Signal {
	if !systemd.IsHeir() {
		return nil
	}
	return catch()
}

func catch() chan os.Signal {
	caught := make(chan os.Signal, 4)
	for _, sig := range handled() {
		signal.Notify(caught, sig)
	}
	return caught
}
