package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"penstock/systemd"
)

// signals turns the first request to stop into the end of serving, the second
// into the end of force, and SIGUSR2 into a request to hand over. What a hang-up
// does keeps none of them from being heard.
type signals struct {
	serving, force context.Context
	handover       chan struct{} // has room for one
	log            *slog.Logger

	stopServing context.CancelCauseFunc
	stopForce   context.CancelFunc
	caught      *signalChans
	ended, done chan struct{}
}

// signalChans has a channel for each concern, so that no signal takes another's
// place. Each has room for all that would make a difference: two stops, one of
// the others.
type signalChans struct{ stop, hangUp, handover chan os.Signal }

// followSignals takes what catch gave. hangUp is called for SIGHUP, one at a time.
func followSignals(ctx context.Context, c *signalChans, log *slog.Logger, hangUp func()) *signals {
	s := &signals{
		log: log, handover: make(chan struct{}, 1),
		caught: c, ended: make(chan struct{}), done: make(chan struct{}),
	}
	s.serving, s.stopServing = context.WithCancelCause(ctx)
	s.force, s.stopForce = context.WithCancel(context.WithoutCancel(ctx))
	go s.follow()
	go s.followHangUps(hangUp)
	return s
}

func (s *signals) follow() {
	defer close(s.done)
	for {
		select {
		case sig := <-s.caught.stop:
			s.onStop(sig)
		case <-s.caught.handover:
			s.handOver()
		case <-s.ended:
			return
		}
	}
}

func (s *signals) followHangUps(hangUp func()) {
	for {
		select {
		case <-s.caught.hangUp:
			hangUp()
		case <-s.ended:
			return
		}
	}
}

func (s *signals) handOver() {
	if s.serving.Err() != nil {
		s.log.Warn("no handover: the daemon is being stopped")
		return
	}
	select {
	case s.handover <- struct{}{}:
	default: // one is to come
	}
}

func (s *signals) onStop(sig os.Signal) {
	if s.serving.Err() == nil {
		// The server says so, once, with the cause.
		s.stopServing(fmt.Errorf("signal: %s; a second one ends all runs at once", sig))
		return
	}
	s.log.Warn("ending all runs at once", "signal", sig.String())
	s.stopForce()
}

// stop takes no more signals.
func (s *signals) stop() {
	s.end()
	s.stopServing(nil)
	s.stopForce()
}

// end takes no more signals and tells whether a stop was asked for until now.
func (s *signals) end() (stopping bool) {
	for _, c := range s.caught.all() {
		signal.Stop(c)
	}
	close(s.ended)
	<-s.done
	for {
		select {
		case sig := <-s.caught.stop:
			s.onStop(sig)
		default:
			return s.serving.Err() != nil
		}
	}
}

// catchEarly is for the first line of a successor: a SIGTERM that finds no
// handler yet ends it as a crash does. Nil for any other program.
func catchEarly() *signalChans {
	if !systemd.IsHandover() {
		return nil
	}
	return catch()
}

func catch() *signalChans {
	c := &signalChans{stop: make(chan os.Signal, 2), hangUp: make(chan os.Signal, 1), handover: make(chan os.Signal, 1)}
	signal.Notify(c.stop, unix.SIGTERM, unix.SIGINT)
	signal.Notify(c.hangUp, unix.SIGHUP)
	signal.Notify(c.handover, unix.SIGUSR2)
	return c
}

func (c *signalChans) all() []chan os.Signal { return []chan os.Signal{c.stop, c.hangUp, c.handover} }
