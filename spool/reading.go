package spool

import (
	"io"

	"penstock/backend"
)

// Replay is all that is needed to parse a spool again, and what the readings of
// one run share. Its fields are set before the first reading.
type Replay struct {
	Backend backend.Backend
	Request backend.Request // without prompt, system text and attachments: many finished runs are kept
	// Notice is an event that comes before those of the spool; "" is none.
	Notice             string
	LineMax, OutputMax int64
	Buffers            *Buffers // of all runs; nil is none to share

	lines longLines
}

// Read begins a reading by a machine made of Request: what that writes is dropped.
func (p *Replay) Read(f io.ReaderAt) *Reading {
	r := p.ReadBy(p.Backend.Machine(p.Request), f)
	r.Open()
	return r
}

// ReadBy begins a reading by a machine of the caller's, which may have the prompt.
// Open gives what it begins with.
func (p *Replay) ReadBy(m backend.Machine, f io.ReaderAt) *Reading {
	r := &Reading{
		parser: newParser(p.Backend.Framing(), p.LineMax, m, p.Buffers),
		tail:   tail{file: f, limit: -1, max: p.OutputMax},
	}
	r.parser.from(f, &p.lines)
	r.parser.notice = p.Notice
	return r
}

// Reading is one pass over a spool, through a machine of its own. Not safe for
// concurrent use.
type Reading struct {
	parser *parser
	tail   tail
}

// Open gives what the machine has to tell its CLI first.
func (r *Reading) Open() (writes [][]byte) { return r.parser.machine.Open() }

// Next takes one frame of what Fill has read. Events may be none; not ok is that
// more is to be read, or with Done that all is.
func (r *Reading) Next() (events []backend.Event, writes [][]byte, ok bool) { return r.parser.next() }

// Fill reads once. 0 and no error is the present end of the spool.
func (r *Reading) Fill() (n int, err error) { return r.parser.frames.fill(&r.tail) }

// AtEnd tells that the last Fill has seen the spool's present end, after what it has read.
func (r *Reading) AtEnd() bool { return r.tail.atEnd }

// Rest lets go of what the reading needs only while there is something to be read.
func (r *Reading) Rest() { r.parser.frames.rest() }

// Limit says that the spool has its final size: nothing beyond is read.
func (r *Reading) Limit(size int64) { r.tail.limit = size }

// Limited tells that Limit was called.
func (r *Reading) Limited() bool { return r.tail.limit >= 0 }

// End says that Fill has reached the end of a spool that doesn't grow any more.
func (r *Reading) End() { r.parser.frames.end() }

// Done tells that the machine has been closed: no event follows.
func (r *Reading) Done() bool { return r.parser.closed }

// TooLong tells that a line over LineMax was met: nothing more comes out.
func (r *Reading) TooLong() bool { return r.parser.frames.tooLong }

// parser turns bytes to frames to numbered events. The
// same bytes give the same events with the same numbers, whatever the reads.
type parser struct {
	frames  framer
	machine backend.Machine
	seq     uint64
	closed  bool
	notice  string // of the daemon's own, as the first event; "" is none

	file  io.ReaderAt // of from
	lines *longLines
}

// from lets long lines be read again from the spool when they are whole, and their
// texts be shared with the run's other readings.
func (p *parser) from(file io.ReaderAt, lines *longLines) {
	p.file, p.lines, p.frames.skipLong = file, lines, true
}

func newParser(f backend.Framing, lineMax int64, m backend.Machine, shared *Buffers) *parser {
	return &parser{frames: framer{framing: f, lineMax: lineMax, shared: shared}, machine: m}
}

// next takes one frame; false means that more bytes are needed. Events may be
// none. After end it closes the machine once and is then done for good.
func (p *parser) next() (events []backend.Event, writes [][]byte, ok bool) {
	if notice := p.notice; notice != "" {
		p.notice = ""
		return p.number([]backend.Event{{Kind: backend.Notice, Text: notice}}), nil, true
	}
	if frame, ok := p.frames.next(); ok {
		events, writes := p.machine.Line(frame)
		return p.number(events), writes, true
	}
	if due := p.frames.longDue; due != nil {
		p.frames.longDue = nil
		events, writes, err := p.lines.parse(p.file, *due, p.machine)
		if err != nil {
			p.frames.failed = err
			return nil, nil, false
		}
		return p.number(events), writes, true
	}
	if p.frames.ended && !p.closed {
		p.closed = true
		return p.number(p.machine.Close()), nil, true
	}
	return nil, nil, false
}

func (p *parser) number(events []backend.Event) []backend.Event {
	for i := range events {
		p.seq++
		events[i].Seq = p.seq
		if p.lines != nil && len(events[i].Text) >= longLine {
			events[i].Text = p.lines.share(p.seq, events[i].Text)
		}
	}
	return events
}
