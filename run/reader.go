package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"penstock/backend"
	"penstock/spawn"
)

// ErrNoReplay is returned by Next for a run of an earlier daemon that wasn't
// durable: its record is known, the parser of its output is not.
var ErrNoReplay = errors.New("events of a run of an earlier daemon can't be read")

// Reader follows one run's spool through a parser of its own, from the first
// byte; it slows neither the CLI nor another reader. Not safe for concurrent
// use; it stays usable after its run was pruned.
type Reader struct {
	// OnWait, if set, is called each time Next has given all there is so far and
	// waits for more.
	OnWait func()

	run   *Run
	after uint64

	live    bool // it was opened before the run's end
	file    *os.File
	spool   spoolFile
	parse   *parse
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
	for {
		for len(d.pending) > 0 {
			e := d.pending[0]
			d.pending = d.pending[1:]
			if e.Seq > d.after {
				return e, nil
			}
		}
		if d.err != nil {
			return backend.Event{}, d.err
		}
		if err := ctx.Err(); err != nil {
			return backend.Event{}, err
		}
		if err := d.open(ctx); err != nil {
			return backend.Event{}, err
		}
		d.err = d.more(ctx)
	}
}

// more parses one frame, or reads, or waits for growth.
func (d *Reader) more(ctx context.Context) error {
	events, _, ok := d.parse.step()
	if ok {
		d.pending = events
		return nil
	}
	if d.parse.closed {
		return io.EOF
	}
	grown := d.run.grown.wait()
	ended := isClosed(d.run.ended)
	if d.run.spoiled.Load() {
		return d.spoiled(ctx, fmt.Errorf("read spool of %s: %w", d.run.id, ErrSpoiled))
	}
	if ended {
		d.spool.limit = d.run.finalSize()
	}
	n, err := d.parse.frames.fill(&d.spool)
	switch {
	case errors.Is(err, ErrSpoiled):
		d.run.spoil()
		return d.spoiled(ctx, fmt.Errorf("read spool of %s: %w", d.run.id, err))
	case err != nil:
		return fmt.Errorf("read spool of %s: %w", d.run.id, err)
	case n > 0:
	case ended:
		d.parse.frames.end()
	default:
		d.waits()
		select {
		case <-grown:
		case <-d.run.ended:
		case <-ctx.Done():
		}
	}
	return nil
}

func (d *Reader) waits() {
	if d.OnWait != nil {
		d.OnWait()
	}
}

// spoiled is the end of a reading. Who followed the live run gets io.EOF with
// the verdict that says why; who comes later, or has a verdict that doesn't, err.
func (d *Reader) spoiled(ctx context.Context, err error) error {
	d.run.spoil()
	select {
	case <-d.run.ended:
		if d.live && d.run.Verdict().Cause != spawn.Completed {
			return io.EOF
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open waits until the run has its files; a run that never got any has no events.
func (d *Reader) open(ctx context.Context) error {
	if d.parse != nil {
		return nil
	}
	if !isClosed(d.run.ready) {
		d.waits()
	}
	select {
	case <-d.run.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.live = d.live || !isClosed(d.run.ended)
	replay := d.run.replay
	if replay == nil && d.run.dir == nil {
		d.err = io.EOF
		return d.err
	}
	if replay == nil {
		d.err = fmt.Errorf("run %s: %w", d.run.id, ErrNoReplay)
		return d.err
	}
	f, err := d.run.openSpool()
	if err != nil {
		if errors.Is(err, ErrSpoiled) {
			return d.spoiled(ctx, err)
		}
		d.err = err
		return d.err
	}
	d.file = f
	d.spool = spoolFile{file: f, limit: -1, most: replay.outputMax}
	d.begin()
	return nil
}

// Rewind makes Next begin anew with the first event after the Seq it was made
// for. The spool stays open: also a run that was pruned meanwhile is read again.
func (d *Reader) Rewind() {
	if d.file == nil {
		return // nothing was read, or it is closed
	}
	d.pending, d.err = nil, nil
	d.spool = spoolFile{file: d.file, limit: -1, most: d.run.replay.outputMax}
	d.begin()
}

// begin makes the parser of one reading.
func (d *Reader) begin() {
	d.parse = d.run.replay.parse()
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
	lineMax, outputMax int64
}

func newReplay(b backend.Backend, l *will) *replay {
	r := l.Request
	r.Prompt, r.System = "", ""
	return &replay{backend: b, request: r, lineMax: l.LineMax, outputMax: l.OutputMax}
}

func (p *replay) parse() *parse {
	return newParse(p.backend.Framing(), p.lineMax, p.backend.Machine(p.request))
}
