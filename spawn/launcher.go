package spawn

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// errClosed is why a launcher takes no more work.
var errClosed = errors.New("spawner is closed")

// launcher is one OS thread from which every child is forked. Mount namespace,
// capability sets and no_new_privs belong to a thread, so the thread prepares
// itself once and children inherit all of it, while the daemon's other threads
// keep their rights over the groups. What would bind the thread itself, or must
// not be shared by two runs, is the sandbox each child puts on by itself.
type launcher struct {
	jobs       chan func()
	quit       chan struct{}
	done       chan struct{}
	sandbox    sandbox
	masker     pathMasker
	protection protection
	oomScore   oomScoreKeeper
	escape     string // Isolation.Escape
	works      bool   // escape names mechanisms that work
	gap        error  // why escapeRootAlone
}

// openLauncher starts the thread and prepares it. procs is a cgroup.procs file
// which must be out of its reach afterwards; an error is only about what holds
// in every mode, a missing escape-proofing is told in l.escape.
func openLauncher(procs string, h MaskPaths, protect []string, log *slog.Logger) (*launcher, error) {
	l := &launcher{
		jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}),
		sandbox: noSandbox(), masker: pathMasker{MaskPaths: h, log: log},
		protection: protection{paths: protect, log: log},
	}
	l.masker.protection = &l.protection
	ready := make(chan error, 1)
	go l.main(procs, ready)
	if err := <-ready; err != nil {
		<-l.done
		return nil, err
	}
	return l, nil
}

func (l *launcher) main(procs string, ready chan<- error) {
	runtime.LockOSThread()
	// Never the process's first thread: /proc/PID shows that one's namespace,
	// and the runtime can't end it.
	if unix.Gettid() == unix.Getpid() {
		taken := make(chan error, 1)
		go l.main(procs, taken)
		err := <-taken
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	// The goroutine returns without unlocking, so the runtime ends the thread.
	defer close(l.done)
	l.masker.closed = l.done
	if err := l.prepare(procs); err != nil {
		ready <- errors.Join(err, l.sandbox.open())
		return
	}
	ready <- nil
	go l.masker.rescan()
	rescan := time.NewTicker(rescanEvery)
	defer rescan.Stop()
	for {
		select {
		case <-rescan.C:
			l.oomScore.restore(l.masker.log)
		case job := <-l.jobs:
			job()
		case job := <-l.masker.jobs:
			job()
		case <-l.quit:
			return
		}
	}
}

// do hands a job to the thread; nil means that it runs or has run.
func (l *launcher) do(ctx context.Context, job func()) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case l.jobs <- job:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.done:
		return errClosed
	}
}

// close ends the thread; an error when its current job doesn't end in time.
func (l *launcher) close() error {
	close(l.quit)
	timer := time.NewTimer(teardownMax)
	defer timer.Stop()
	select {
	case <-l.done:
		return l.sandbox.open()
	case <-timer.C:
		return errors.New("close launcher: a start still holds its thread")
	}
}
