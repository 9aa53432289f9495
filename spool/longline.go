package spool

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"unsafe"
	"weak"

	"penstock/backend"
)

// longLine is the size, in bytes, from which a line is not gathered by each
// reading but read again as a whole once its end is known, by one reading at a
// time, and its texts are one copy for all of them.
const longLine = 64 << 10

// span is a part of the spool.
type span struct{ at, size int64 }

// longLines are shared by the readings of one run: what a long line costs is paid
// once for all of them, and not at all while they wait for its end.
type longLines struct {
	reading sync.Mutex // one whole line at a time
	mu      sync.Mutex
	texts   map[uint64]sharedText // by the event's number
}

type sharedText struct {
	first weak.Pointer[byte] // of the text; nil when no reading has it any more
	size  int
}

// parse feeds one whole line to a reading's own machine.
func (l *longLines) parse(file io.ReaderAt, line span, m backend.Machine) (events []backend.Event, writes [][]byte, err error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	text := make([]byte, line.size)
	switch n, err := file.ReadAt(text, line.at); {
	case err != nil && err != io.EOF:
		return nil, nil, fmt.Errorf("read a line of %d bytes again: %w", line.size, err)
	case int64(n) < line.size, bytes.IndexByte(text, '\n') >= 0:
		return nil, nil, ErrTampered // it was one line when its end was looked for
	}
	events, writes = m.Line(text)
	return events, writes, nil
}

// share gives the copy of an event's long text that another reading holds already,
// where there is one. A text's own bytes are what the weak pointer goes by: they live as long
// as the text, or a part of it, is held anywhere.
func (l *longLines) share(event uint64, text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.texts[event]; ok && known.size == len(text) {
		if first := known.first.Value(); first != nil {
			if same := unsafe.String(first, known.size); same == text {
				return same
			}
		}
	}
	for k, known := range l.texts {
		if known.first.Value() == nil {
			delete(l.texts, k)
		}
	}
	if l.texts == nil {
		l.texts = map[uint64]sharedText{}
	}
	l.texts[event] = sharedText{weak.Make(unsafe.StringData(text)), len(text)}
	return text
}
