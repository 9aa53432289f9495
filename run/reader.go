package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"penstock/backend"
	"penstock/outcome"
)

// ErrNoReplay is returned by Next for a run of an earlier daemon that wasn't
// durable: its record is known, the parser of its output is not.
var ErrNoReplay = errors.New("events of a run of an earlier daemon can't be read")

// Reader follows one run's spool through a parser of its own, from the first
// byte; it slows neither the CLI nor another reader. Not safe for concurrent
// use; it stays usable after its run was pruned.
type Reader struct {
	run   *Run
	after uint64

	live    bool // it was opened before the run's end
	file    *os.File
	spool   tail
	parse   *parser
	pending []backend.Event
	err     error // sticky
}

// Follow reads the events with Seq > after. Close the reader when done. Any
// number may follow, also a finished run. Their machines are made without the
// prompt: what a machine writes is dropped here.
func (r *Run) Follow(after uint64) *Reader {
	return &Reader{run: r, after: after}
}

// Next waits for the next event. It returns io.EOF after the last event of an
// ended run, when Verdict is valid; ctx's error when ctx ends first.
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

// Try is Next for a caller that waits for other things too: an event of Kind 0 means that
// there is none yet. more is closed as soon as another Try is of use, which may
// be at once.
func (d *Reader) Try() (e backend.Event, more <-chan struct{}, err error) {
	for range tryReads {
		for d.err == nil && d.parse != nil {
			if e, ok := d.take(); ok {
				return e, d.run.ready, nil // ready is closed: files were opened
			}
			if !d.step() {
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
	return backend.Event{}, d.run.ready, nil
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

// step parses one frame; false where there is none.
func (d *Reader) step() (ok bool) {
	d.pending, _, ok = d.parse.next()
	if !ok && d.parse.closed {
		d.err = io.EOF
	}
	return ok
}

// read reads once; where there is nothing to be read yet, more is closed when
// there is.
func (d *Reader) read() (more <-chan struct{}, err error) {
	if more, err := d.open(); more != nil || err != nil {
		return more, err
	}
	grown := d.run.grown.wait()
	ended := isClosed(d.run.ended) // which signals grown, too
	if d.run.tampered.Load() {
		return d.endTampered(fmt.Errorf("read spool of %s: %w", d.run.id, ErrTampered))
	}
	if ended {
		d.spool.limit = d.run.finalSize()
	}
	n, err := d.parse.frames.fill(&d.spool)
	switch {
	case errors.Is(err, ErrTampered):
		return d.endTampered(fmt.Errorf("read spool of %s: %w", d.run.id, err))
	case err != nil:
		return nil, fmt.Errorf("read spool of %s: %w", d.run.id, err)
	case n > 0:
	case ended:
		d.parse.frames.end()
	default:
		return grown, nil
	}
	return nil, nil
}

// endTampered is the end of a reading. A reader that followed the live run gets
// io.EOF with the verdict that says why; a later one, or one whose verdict doesn't
// say it, err.
func (d *Reader) endTampered(err error) (more <-chan struct{}, _ error) {
	d.run.markTampered()
	if !isClosed(d.run.ended) {
		return d.run.ended, nil
	}
	if d.live && d.run.Verdict().Cause != outcome.Completed {
		return nil, io.EOF
	}
	return nil, err
}

// open takes the run's files as soon as it has them, which more tells; a run
// that never got any has no events.
func (d *Reader) open() (more <-chan struct{}, err error) {
	if d.parse != nil {
		return nil, nil
	}
	d.live = d.live || !isClosed(d.run.ended)
	if !isClosed(d.run.ready) {
		return d.run.ready, nil
	}
	replay := d.run.replay
	if d.run.silent || replay == nil && d.run.dir == nil {
		return nil, io.EOF
	}
	if replay == nil {
		return nil, fmt.Errorf("run %s: %w", d.run.id, ErrNoReplay)
	}
	f, err := d.run.openSpool()
	if err != nil {
		if errors.Is(err, ErrTampered) {
			return d.endTampered(err)
		}
		return nil, err
	}
	d.file = f
	d.spool = tail{file: f, limit: -1, max: replay.outputMax}
	d.begin()
	return nil, nil
}

// Rewind makes Next begin anew with the first event after the Seq it was made
// for. The spool stays open: also a run that was pruned meanwhile is read again.
func (d *Reader) Rewind() {
	if d.file == nil {
		return // nothing was read, or it is closed
	}
	d.pending, d.err = nil, nil
	d.spool = tail{file: d.file, limit: -1, max: d.run.replay.outputMax}
	d.begin()
}

// begin makes the parser of one reading.
func (d *Reader) begin() {
	d.parse = d.run.replay.newParser()
	d.parse.from(d.file, &d.run.replay.lines)
	d.parse.machine.Open()
}

// Close lets the spool go. It may be called more than once.
func (d *Reader) Close() {
	if d.file != nil {
		d.file.Close()
		d.file = nil
	}
	d.pending, d.parse, d.err = nil, nil, os.ErrClosed
}

// replay is all that is needed to parse a spool again.
type replay struct {
	backend            backend.Backend
	request            backend.Request // without prompt and system text: many finished runs are kept
	restarted          bool
	lineMax, outputMax int64
	buffers            buffers
	lines              longLines
}

func newReplay(b backend.Backend, cp *checkpoint) *replay {
	r := cp.Request
	r.Prompt, r.System = "", ""
	return &replay{backend: b, request: r, restarted: cp.Restart == restartDone, lineMax: cp.LineMax, outputMax: cp.OutputMax}
}

func (p *replay) newParser() *parser {
	again := newParser(p.backend.Framing(), p.lineMax, p.backend.Machine(p.request), &p.buffers)
	again.restarted = p.restarted
	return again
}
