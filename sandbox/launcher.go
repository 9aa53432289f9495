package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// closeMax bounds the wait for the end of the launcher thread.
const closeMax = 5 * time.Second

// ErrClosed is why a launcher takes no more work.
var ErrClosed = errors.New("spawner is closed")

// Launcher is one OS thread from which every child is forked. Mount namespace,
// capability sets and no_new_privs belong to a thread, so the thread prepares
// itself once and children inherit all of it, while the daemon's other threads
// keep their rights over the groups. What would bind the thread itself, or must
// not be shared by two runs, is the sandbox each child puts on by itself.
type Launcher struct {
	jobs         chan func()
	quit         chan struct{}
	done         chan struct{}
	restrictions restrictions
	masker       pathMasker
	protection   protection
	oomScore     oomScoreKeeper
	mounting     bool   // its children are bubblewrap's
	escape       string // State.Escape
	works        bool
	gap          error
}

// OpenLauncher starts the thread and prepares it. procs is a cgroup.procs file
// which must be out of its reach afterwards; an error is only about what holds
// in every mode, a missing escape-proofing is told in l.escape.
func OpenLauncher(procs string, h MaskPaths, protect []string, log *slog.Logger) (*Launcher, error) {
	return newLauncher(h, protect, log).open(procs)
}

// OpenMountingLauncher is for bubblewrap alone: its children may mount, in namespaces of
// their own, and put on nothing that would keep them from it. What they start has its
// sandbox from an Inner. What is masked for others is masked in what they bind, too.
func OpenMountingLauncher(h MaskPaths, protect []string, log *slog.Logger) (*Launcher, error) {
	l := newLauncher(h, protect, log)
	l.mounting = true
	return l.open("")
}

func newLauncher(h MaskPaths, protect []string, log *slog.Logger) *Launcher {
	l := &Launcher{
		jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}),
		restrictions: noRestrictions(), masker: pathMasker{MaskPaths: h, log: log},
		protection: protection{paths: protect, log: log},
	}
	l.masker.protection = &l.protection
	return l
}

func (l *Launcher) open(procs string) (*Launcher, error) {
	ready := make(chan error, 1)
	go l.main(procs, ready)
	if err := <-ready; err != nil {
		<-l.done
		return nil, err
	}
	return l, nil
}

func (l *Launcher) main(procs string, ready chan<- error) {
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
		ready <- errors.Join(err, l.restrictions.close())
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

// NoFile is the limit of open files that children have; nil is unknown.
func (l *Launcher) NoFile() *syscall.Rlimit { return l.restrictions.noFile }

// Do hands a job to the thread; nil means that it runs or has run.
func (l *Launcher) Do(ctx context.Context, job func()) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case l.jobs <- job:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.done:
		return ErrClosed
	}
}

// Close ends the thread; an error when its current job doesn't end in time.
func (l *Launcher) Close() error {
	close(l.quit)
	timer := time.NewTimer(closeMax)
	defer timer.Stop()
	select {
	case <-l.done:
		return l.restrictions.close()
	case <-timer.C:
		return errors.New("close launcher: a start still holds its thread")
	}
}

// State is what keeps children in, and what they can reach all the same; a plain snapshot.
type State struct {
	Escape string // EscapeRoot and its like, or "none: why"
	Works  bool   // Escape names mechanisms that work
	Gap    error  // why it is EscapeRootAlone
	Mounts bool   // children have a mount namespace apart from the daemon's
	Filter bool   // and a seccomp filter
	// Store is what keeps children from writing to the paths to protect: "mount
	// namespace", "landlock", or Unprotected, which StoreOpen explains.
	Store     string
	StoreOpen error
	// Hidden, Reachable, Late and TooMany are of MaskPaths: what is masked, what
	// should be and is not, both sorted, the patterns that lead to a file system
	// that doesn't answer, and how many names were too many to be looked at.
	Hidden, Reachable, Late []string
	TooMany                 int
}

// State is as the last scan found it.
func (l *Launcher) State() State {
	s := State{
		Escape: l.escape, Works: l.works, Gap: l.gap, Mounts: l.masker.mounts, Filter: l.restrictions.filter != nil,
		Store: l.protection.store, StoreOpen: l.protection.storeOpen,
	}
	s.Hidden, s.Reachable = l.masker.reachability()
	s.Late, s.TooMany = l.masker.unscanned()
	return s
}
