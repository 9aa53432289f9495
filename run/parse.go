package run

import (
	"io"

	"penstock/backend"
)

// parse is one reading of a spool: bytes to frames to numbered events. The
// same bytes give the same events with the same numbers, whatever the reads.
type parse struct {
	frames  frames
	machine backend.Machine
	seq     uint64
	closed  bool
}

func newParse(f backend.Framing, lineMax int64, m backend.Machine) *parse {
	return &parse{frames: frames{framing: f, lineMax: lineMax}, machine: m}
}

// step takes one frame; false means that more bytes are needed. Events may be
// none. After end it closes the machine once and is then done for good.
func (p *parse) step() (events []backend.Event, writes [][]byte, ok bool) {
	if frame, ok := p.frames.next(); ok {
		events, writes := p.machine.Line(frame)
		return p.number(events), writes, true
	}
	if p.frames.ended && !p.closed {
		p.closed = true
		return p.number(p.machine.Close()), nil, true
	}
	return nil, nil, false
}

func (p *parse) number(events []backend.Event) []backend.Event {
	for i := range events {
		p.seq++
		events[i].Seq = p.seq
	}
	return events
}

// spoolFile is a place in a growing file.
type spoolFile struct {
	file  io.ReaderAt
	at    int64
	limit int64 // -1 while the file may grow
}

// Read gives 0, nil at the present end of a file that may grow.
func (s *spoolFile) Read(p []byte) (int, error) {
	if s.limit >= 0 {
		p = p[:min(int64(len(p)), max(0, s.limit-s.at))]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.file.ReadAt(p, s.at)
	s.at += int64(n)
	if err == io.EOF {
		err = nil
	}
	return n, err
}
