// Package spool follows the growing file that takes a CLI's output. It knows the
// backends, and nothing of processes.
//
//	the CLI ──write(2)──▶ the spool, a file ◀── Outputs: sizes, trim, pages (outputs.go)
//	                          │        │
//	        inotify: Notifier ▼        ▼ ReadAt
//	        or poll: WatchFiles     tail        (a place; tells a truncated file: frame.go)
//	                  │                ▼ bytes
//	                  ▼             framer      (lines or words: frame.go; long lines apart: longline.go)
//	          Broadcast "grown"        ▼ frames          (watch.go)
//	                  │             Machine     (the backend's)
//	                  │                ▼ numbered events
//	                  ├──▶ Reading ── of the run's supervisor, whose machine talks to the CLI
//	                  └──▶ Reader  ── any number, each with a Reading of its own (reading.go)
//
// The same bytes give the same events with the same numbers, however they are
// read. Spool is what all readers of one run share: see spool.go; a reader's own
// side is reader.go, over reading.go and tail.go.
package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"penstock/internal/openat"
)

var (
	// ErrTampered is wrapped by Next when the run's child has truncated, replaced or
	// removed its output: what was read and what could be read again differ.
	ErrTampered = errors.New("the run's output was truncated, replaced or removed by its own process")
	// ErrPruned is wrapped by Next when the output of a finished run is not kept any more.
	ErrPruned = errors.New("the run has ended and its output is not kept any more")
	// ErrNoReplay is wrapped by Next for a run of an earlier daemon that wasn't
	// durable: its record is known, the parser of its output is not.
	ErrNoReplay = errors.New("events of a run of an earlier daemon can't be read")
)

// Spool is one run's output as its readers share it. Set, Silence and Finish are
// its supervisor's; the rest is safe for concurrent use.
type Spool struct {
	Grown Broadcast // the outputs have grown, or the run has ended

	id       string
	ended    <-chan struct{} // of the run: its outputs are final
	ready    chan struct{}   // what follows is set, or never will be
	publish  func()
	tampered atomic.Bool

	// Read once ready is closed.
	path   string
	file   os.FileInfo // as of the start
	replay *Replay     // nil: its events can't be read
	silent bool        // it has no events

	discarded bool

	// Read once ended is closed.
	size      int64
	explained bool
}

// New is the spool of a run to come. Nothing is read of it before Publish; ended
// is closed after Finish.
func New(id string, ended <-chan struct{}) *Spool {
	s := &Spool{id: id, ended: ended, ready: make(chan struct{}), silent: true}
	s.publish = sync.OnceFunc(func() { close(s.ready) })
	return s
}

// Set tells the file, and how it is parsed; nil is that it can't be. Before
// Publish it may be called again: a CLI that is started anew has another file.
func (s *Spool) Set(path string, file os.FileInfo, p *Replay) {
	s.path, s.file, s.replay, s.silent = path, file, p, false
}

// Silence says that the run has no events: its CLI did nothing.
func (s *Spool) Silence() { s.silent = true }

// Discard says that the output of the run, which has ended, is not kept.
func (s *Spool) Discard() { s.discarded = true }

// Publish lets readers in: the file is the one that stays. It may be called again.
func (s *Spool) Publish() { s.publish() }

// Finish tells the final size, and whether the run's verdict explains why its
// output may end early.
func (s *Spool) Finish(size int64, explained bool) { s.size, s.explained = size, explained }

// MarkTampered says that the output isn't what was written to it.
func (s *Spool) MarkTampered() {
	if !s.tampered.Swap(true) {
		s.Grown.Signal()
	}
}

// Tampered tells that MarkTampered was called, by a reader or by the supervisor.
func (s *Spool) Tampered() bool { return s.tampered.Load() }

// InPlace tells whether the name still is that of the file of the start.
func (s *Spool) InPlace() bool {
	info, err := os.Lstat(s.path)
	return err == nil && os.SameFile(info, s.file)
}

// open opens the very file the run was started with.
func (s *Spool) open() (*os.File, error) {
	ended := isClosed(s.ended) // a later removal is pruning, and whether it was tampered with is known
	if s.tampered.Load() {
		return nil, s.failed(ErrTampered)
	}
	f, info, err := openat.Regular(s.path)
	if err != nil && !ended && !s.InPlace() {
		return nil, s.failed(fmt.Errorf("%w: %w", ErrTampered, err))
	}
	if ended && errors.Is(err, fs.ErrNotExist) {
		return nil, s.failed(ErrPruned)
	}
	if err != nil {
		return nil, s.failed(err)
	}
	if !os.SameFile(info, s.file) {
		return nil, errors.Join(s.failed(ErrTampered), f.Close())
	}
	return f, nil
}

func (s *Spool) failed(err error) error { return fmt.Errorf("read spool of %s: %w", s.id, err) }
