package run

import (
	"bytes"
	"io"
	"unicode/utf8"

	"penstock/backend"
)

const (
	readSize  = 16 << 10 // bytes of one read at most
	readFirst = 4 << 10  // and of one that follows silence
	wordMax   = 4096     // bytes of one frame of backend.Words
)

// frames cuts a byte stream as an adapter wants it. The cuts depend on the
// bytes alone, never on how they were read, which makes an event's number its
// identity across readers.
type frames struct {
	framing backend.Framing
	lineMax int64

	buf   []byte
	off   int    // where the next frame begins
	scan  int    // what is known to hold no cut
	want  int    // bytes of the next read; 0 is readFirst
	word  []byte // the frame under way (Words), with U+FFFD for invalid bytes
	ended bool
	over  bool // a line over lineMax was met: nothing more comes out
}

// fill reads once, at most readSize bytes, from r. How much it asks for follows
// what comes: most streams are silent for most of their life.
func (f *frames) fill(r io.Reader) (int, error) {
	f.compact()
	f.want = max(f.want, readFirst)
	if free := cap(f.buf) - len(f.buf); free < f.want {
		grown := make([]byte, len(f.buf), max(2*cap(f.buf), len(f.buf)+f.want))
		copy(grown, f.buf)
		f.buf = grown
	}
	end := len(f.buf)
	n, err := r.Read(f.buf[end : end+f.want])
	f.buf = f.buf[:end+n]
	switch n {
	case f.want:
		f.want = min(2*f.want, readSize)
	case 0:
		f.want = readFirst
		f.shrink()
	}
	return n, err
}

// shrink lets a buffer go that is far larger than the rest it holds.
func (f *frames) shrink() {
	if cap(f.buf) > 4*readFirst && len(f.buf) < readFirst {
		f.buf = append([]byte(nil), f.buf...)
	}
}

// compact drops what was taken, and a buffer that one long line has grown.
func (f *frames) compact() {
	if f.over {
		f.buf, f.off, f.scan = nil, 0, 0
		return
	}
	rest := f.buf[f.off:]
	if cap(f.buf) > 4*readSize && len(rest) < readSize {
		f.buf = append(make([]byte, 0, 2*readSize), rest...)
	} else if f.off > 0 {
		f.buf = append(f.buf[:0], rest...)
	}
	f.scan -= f.off
	f.off = 0
}

// end says that no byte follows: an unterminated rest becomes a frame.
func (f *frames) end() { f.ended = true }

// next gives a frame, valid until the next call of fill or next.
func (f *frames) next() (frame []byte, ok bool) {
	if f.over {
		return nil, false
	}
	if f.framing == backend.Words {
		return f.nextWord()
	}
	return f.nextLine()
}

// nextLine cuts at LF only: U+2028 and CR are legal inside JSON lines.
func (f *frames) nextLine() ([]byte, bool) {
	if i := bytes.IndexByte(f.buf[f.scan:], '\n'); i >= 0 {
		line := f.buf[f.off : f.scan+i]
		f.off = f.scan + i + 1
		f.scan = f.off
		return f.bounded(line)
	}
	f.scan = len(f.buf)
	line := f.buf[f.off:]
	if int64(len(line)) > f.lineMax {
		return f.bounded(line)
	}
	if f.ended && len(line) > 0 {
		f.off = len(f.buf)
		return f.bounded(line)
	}
	return nil, false
}

func (f *frames) bounded(line []byte) ([]byte, bool) {
	if int64(len(line)) > f.lineMax {
		f.over = true
		return nil, false
	}
	return line, true
}

// nextWord cuts after a space or newline, else before the code point that
// would pass wordMax bytes of input.
func (f *frames) nextWord() ([]byte, bool) {
	if f.scan == f.off {
		f.word = f.word[:0]
	}
	for f.scan < len(f.buf) {
		rest := f.buf[f.scan:]
		if !f.ended && !utf8.FullRune(rest) {
			return nil, false
		}
		r, n := utf8.DecodeRune(rest)
		if f.scan+n-f.off > wordMax {
			return f.cutWord()
		}
		f.word = utf8.AppendRune(f.word, r)
		f.scan += n
		if r == ' ' || r == '\n' {
			return f.cutWord()
		}
	}
	if f.ended && f.scan > f.off {
		return f.cutWord()
	}
	return nil, false
}

func (f *frames) cutWord() ([]byte, bool) {
	f.off = f.scan
	return f.word, true
}
