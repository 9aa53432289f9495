package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/backend"
)

// Reader follows one run's spool through a parser of its own, from the first
// byte; it slows neither the CLI nor another reader. Not safe for concurrent
// use; it stays usable after its run was pruned.
type Reader struct {
	spool *Spool
	after uint64

	live    bool // it was made before the run's end
	file    *os.File
	reading *Reading        // nil: not opened yet
	tries   int             // to open it, for want of a descriptor
	seen    <-chan struct{} // of Grown, when the end of the file was last seen: until it is closed nothing has come
	pending []backend.Event
	err     error // sticky
}

// Follow reads the events with Seq > after. Close the reader when done. Any
// number may follow, also a finished run. Their machines are made without the
// prompt: what a machine writes is dropped here.
func (s *Spool) Follow(after uint64) *Reader {
	return &Reader{spool: s, after: after, live: !isClosed(s.ended)}
}

// Next waits for the next event. It returns io.EOF after the last event of an
// ended run, when its verdict is valid; ctx's error when ctx ends first.
func (d *Reader) Next(ctx context.Context) (backend.Event, error) {
	for ctx.Err() == nil {
		e, more, err := d.Try()
		if err != nil || e.Kind != 0 {
			return e, err
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
	return backend.Event{}, ctx.Err()
}

// tryReads bounds how much output without an event one Try goes through.
const tryReads = 16

// Try is Next for a caller that waits for other things too: an event of Kind 0
// means that there is none yet. more is closed as soon as another Try is of use,
// which may be at once.
func (d *Reader) Try() (e backend.Event, more <-chan struct{}, err error) {
	for range tryReads {
		for d.err == nil && d.reading != nil {
			if e, ok := d.take(); ok {
				return e, d.spool.ready, nil // ready is closed: files were opened
			}
			if !d.parse() {
				break
			}
		}
		if d.err == nil {
			more, d.err = d.read()
		}
		if d.err != nil || more != nil {
			return backend.Event{}, more, d.err
		}
	}
	return backend.Event{}, d.spool.ready, nil
}

// take gives the next of the events that were parsed and are new to the reader.
func (d *Reader) take() (backend.Event, bool) {
	for i, e := range d.pending {
		if e.Seq > d.after {
			d.pending = d.pending[i+1:]
			if len(d.pending) == 0 {
				d.pending = nil // with the words of those before
			}
			return e, true
		}
	}
	d.pending = nil
	return backend.Event{}, false
}

// parse takes one frame; false where there is none.
func (d *Reader) parse() (ok bool) {
	d.pending, _, ok = d.reading.Next()
	if !ok && d.reading.Done() {
		d.err = io.EOF
	}
	return ok
}

// read reads once; where there is nothing to be read yet, more is closed when
// there is.
func (d *Reader) read() (more <-chan struct{}, err error) {
	if more, err := d.Open(); more != nil || err != nil {
		return more, err
	}
	grown := d.spool.Grown.Wait()
	ended := isClosed(d.spool.ended) // which signals Grown, too
	if d.spool.Tampered() {
		return d.endTampered(d.spool.failed(ErrTampered))
	}
	if !ended && grown == d.seen {
		d.reading.Rest()
		return grown, nil
	}
	if ended {
		d.reading.Limit(d.spool.size)
	}
	n, err := d.reading.Fill()
	if err == nil && d.reading.AtEnd() {
		d.seen = grown
	}
	switch {
	case errors.Is(err, ErrTampered):
		return d.endTampered(d.spool.failed(err))
	case err != nil:
		return nil, d.spool.failed(err)
	case n > 0:
	case ended:
		d.reading.End()
	default:
		return grown, nil
	}
	return nil, nil
}

// endTampered is the end of a reading. A reader that followed the live run gets
// io.EOF with the verdict that says why; a later one, or one whose verdict doesn't
// say it, err.
func (d *Reader) endTampered(err error) (more <-chan struct{}, _ error) {
	d.spool.MarkTampered()
	if !isClosed(d.spool.ended) {
		return d.spool.ended, nil
	}
	if d.live && d.spool.explained {
		return nil, io.EOF
	}
	return nil, err
}

// Open takes the run's file as soon as it has one, which more tells; a run
// that never got any has no events, which io.EOF tells. Try and Next do it by
// themselves: it is for what is read later and may be pruned by then.
func (d *Reader) Open() (more <-chan struct{}, err error) {
	if d.reading != nil {
		return nil, nil
	}
	if !isClosed(d.spool.ready) {
		return d.spool.ready, nil
	}
	if d.spool.discarded {
		return nil, d.spool.failed(ErrPruned)
	}
	if d.spool.silent {
		return nil, io.EOF
	}
	if d.spool.replay == nil {
		return nil, fmt.Errorf("run %s: %w", d.spool.id, ErrNoReplay)
	}
	f, err := d.spool.open()
	if err != nil {
		if errors.Is(err, ErrTampered) {
			return d.endTampered(err)
		}
		return d.later(err)
	}
	d.file, d.reading = f, d.spool.replay.Read(f)
	return nil, nil
}

// A reader waits that long, and that often, for a descriptor of those that end.
const (
	openAgain = 100 * time.Millisecond
	openTries = 100
)

// later is when to open the file again that the daemon or the host has no descriptor
// for: the run goes on. err is returned when it was tried often enough, or is another.
func (d *Reader) later(err error) (more <-chan struct{}, _ error) {
	if d.tries == openTries || !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return nil, err
	}
	d.tries++
	again := make(chan struct{})
	time.AfterFunc(openAgain, func() { close(again) })
	return again, nil
}

// Again is one more reader of the file that d has open, from the same first event on. It is of
// use until d is closed, also when the run was pruned meanwhile, and needs no Close; of a d that
// has nothing open it has no events.
func (d *Reader) Again() *Reader {
	again := &Reader{spool: d.spool, after: d.after, live: d.live, err: d.err}
	switch {
	case d.file != nil:
		again.reading, again.err = d.spool.replay.Read(d.file), nil
	case again.err == nil:
		again.err = io.EOF
	}
	return again
}

// Close lets the spool go. It may be called more than once.
func (d *Reader) Close() {
	if d.file != nil {
		d.file.Close()
		d.file = nil
	}
	d.pending, d.reading, d.err = nil, nil, os.ErrClosed
}
