package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/spawn"
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

func catchSignals(ctx context.Context, log *slog.Logger, hangUp func()) *signals {
	s := &signals{
		log: log, hangUp: hangUp, handover: make(chan struct{}, 1),
		caught: make(chan os.Signal, 4), ended: make(chan struct{}), done: make(chan struct{}),
	}
	s.serving, s.stopServing = context.WithCancelCause(ctx)
	s.force, s.stopForce = context.WithCancel(context.WithoutCancel(ctx))
	for _, sig := range handled() {
		signal.Notify(s.caught, sig)
	}
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

// blockHandled makes the handled signals wait, in all threads, or takes that
// back: the handlers of a process that executes its successor are gone a moment
// before the successor has its own. Programs with cgo can't; there a signal can
// be lost in the last microseconds.
func blockHandled(how int) {
	set := spawn.SignalSet(handled())
	_, _, _ = syscall.AllThreadsSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(how), uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
}
