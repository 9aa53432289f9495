package run

import (
	"bytes"
	"io"

	"penstock/backend"
)

// parser is one reading of a spool: bytes to frames to numbered events. The
// same bytes give the same events with the same numbers, whatever the reads.
type parser struct {
	frames  framer
	machine backend.Machine
	seq     uint64
	closed  bool
	// restarted: the first event is a Notice of ours that says so.
	restarted bool

	file  io.ReaderAt // of from
	lines *longLines
}

// from lets long lines be read again from the spool when they are whole, and their
// texts be shared with the run's other readings.
func (p *parser) from(file io.ReaderAt, lines *longLines) {
	p.file, p.lines, p.frames.skipLong = file, lines, true
}

func newParser(f backend.Framing, lineMax int64, m backend.Machine, shared *buffers) *parser {
	return &parser{frames: framer{framing: f, lineMax: lineMax, shared: shared}, machine: m}
}

// next takes one frame; false means that more bytes are needed. Events may be
// none. After end it closes the machine once and is then done for good.
func (p *parser) next() (events []backend.Event, writes [][]byte, ok bool) {
	if p.restarted {
		p.restarted = false
		return p.number([]backend.Event{{Kind: backend.Notice, Text: restartedNotice}}), nil, true
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

// edgeSize is how many of the last bytes read are looked at again.
const edgeSize = 64

// tail is a place in a file that may only grow.
type tail struct {
	file   io.ReaderAt
	offset int64
	limit  int64 // -1 while the file may grow
	max    int64 // nothing beyond it is read, 0 is no bound; what lies there is of no run, see Spec.OutputMax

	edge []byte // the last bytes before at
	look [edgeSize]byte
}

// Read gives 0, nil at the present end of a file that may grow, and ErrSpoiled
// for one that has shrunk.
func (s *tail) Read(p []byte) (n int, err error) {
	if s.limit >= 0 {
		p = p[:min(int64(len(p)), max(0, s.limit-s.offset))]
	}
	if s.max > 0 {
		p = p[:min(int64(len(p)), max(0, s.max-s.offset))]
	}
	if len(p) > 0 {
		n, err = s.file.ReadAt(p, s.offset)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if n == 0 && s.limit >= 0 {
			return 0, ErrTampered
		}
	}
	// After the read: what was cut off later does not matter to it.
	if err := s.verify(); err != nil {
		return 0, err
	}
	s.offset += int64(n)
	s.keepEdge(p[:n])
	return n, nil
}

// verify looks at the bytes before at again. A size alone would not tell a file
// that was truncated and has grown beyond at since.
func (s *tail) verify() error {
	look := s.look[:len(s.edge)]
	n, err := s.file.ReadAt(look, s.offset-int64(len(look)))
	if err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(look[:n], s.edge) {
		return ErrTampered
	}
	return nil
}

func (s *tail) keepEdge(p []byte) {
	p = p[max(0, len(p)-edgeSize):]
	over := max(0, len(s.edge)+len(p)-edgeSize)
	s.edge = append(s.edge[:copy(s.edge, s.edge[over:])], p...)
}
