package spool

import (
	"bytes"
	"io"
	"sync"
	"unicode/utf8"

	"penstock/backend"
)

const wordMax = 4096 // bytes of one frame of backend.Words

// framer cuts a byte stream as a backend wants it. The cuts depend on the
// bytes alone, never on how they were read, which makes an event's number its
// identity across readers.
type framer struct {
	framing backend.Framing
	lineMax int64
	shared  *Buffers // nil: its buffers are its own

	buf     []byte
	off     int    // where the next frame begins
	scan    int    // what is known to hold no cut
	word    []byte // the frame under way (Words), with U+FFFD for invalid bytes
	ended   bool
	tooLong bool // a line over lineMax was met: nothing more comes out

	at       int64 // where buf begins in the stream
	skipLong bool  // long lines are handed on as longDue, not gathered
	skipped  int64 // bytes of the line under way that were let go
	longDue  *span // a long line that is complete
	failed   error // due could not be read
}

// fill reads once from r, into what room there is. Most streams are silent for
// most of their life: one that finds nothing holds no more than the rest of a
// frame.
func (f *framer) fill(r io.Reader) (int, error) {
	if f.failed != nil {
		return 0, f.failed
	}
	f.compact()
	held := len(f.buf)
	if cap(f.buf)-held < bufferSize/4 {
		f.resize(max(bufferSize, 2*held))
	}
	n, err := r.Read(f.buf[held:cap(f.buf)])
	f.buf = f.buf[:held+n]
	if n == 0 {
		f.resize(held)
	}
	return n, err
}

// rest holds no more than the rest of a frame.
func (f *framer) rest() {
	f.compact()
	if cap(f.buf) > len(f.buf) {
		f.resize(len(f.buf))
	}
}

// compact drops what was taken, and a buffer that one long line has grown.
func (f *framer) compact() {
	if f.tooLong {
		f.buf, f.off, f.scan = nil, 0, 0
		return
	}
	if f.off > 0 {
		f.buf = append(f.buf[:0], f.buf[f.off:]...)
	}
	f.at += int64(f.off)
	f.scan -= f.off
	f.off = 0
	if cap(f.buf) > 2*bufferSize && len(f.buf) < bufferSize/2 {
		f.resize(bufferSize)
	}
}

// resize changes to a buffer of that size.
func (f *framer) resize(size int) {
	to := append(f.shared.get(size), f.buf...)
	f.shared.put(f.buf)
	f.buf = to
}

// end says that no byte follows: an unterminated rest becomes a frame.
func (f *framer) end() { f.ended = true }

// next gives a frame, valid until the next call of fill or next.
func (f *framer) next() (frame []byte, ok bool) {
	if f.tooLong {
		return nil, false
	}
	if f.framing == backend.Words {
		return f.nextWord()
	}
	return f.nextLine()
}

// nextLine cuts at LF only: U+2028 and CR are legal inside JSON lines.
func (f *framer) nextLine() ([]byte, bool) {
	if f.longDue != nil || f.failed != nil {
		return nil, false
	}
	begin := f.off
	if i := bytes.IndexByte(f.buf[f.scan:], '\n'); i >= 0 {
		end := f.scan + i
		f.off, f.scan = end+1, end+1
		return f.line(begin, end)
	}
	f.scan = len(f.buf)
	size := f.skipped + int64(len(f.buf)-begin)
	switch {
	case size > f.lineMax:
		f.tooLong = true
	case f.ended && size > 0:
		f.off = len(f.buf)
		return f.line(begin, len(f.buf))
	case f.skipLong && size > longLine:
		f.off, f.skipped = len(f.buf), size
	}
	return nil, false
}

// line is what ends at end of buf; where its beginning was let go it is due.
func (f *framer) line(begin, end int) ([]byte, bool) {
	size := f.skipped + int64(end-begin)
	switch {
	case size > f.lineMax:
		f.tooLong = true
	case f.skipped > 0:
		f.longDue = &span{f.at + int64(begin) - f.skipped, size}
	default:
		return f.buf[begin:end], true
	}
	f.skipped = 0
	return nil, false
}

// nextWord cuts after a space or newline, else before the code point that
// would pass wordMax bytes of input.
func (f *framer) nextWord() ([]byte, bool) {
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

func (f *framer) cutWord() ([]byte, bool) {
	f.off = f.scan
	return f.word, true
}

const bufferSize = 8 << 10 // bytes

// Buffers are shared by readings, which need one while there is something to be read:
// runs that rest have none. The zero value is ready; nil makes each anew.
type Buffers struct {
	pool sync.Pool // of *[bufferSize]byte
}

// get gives an empty buffer with room for size bytes; nil for none.
func (b *Buffers) get(size int) []byte {
	if size == 0 {
		return nil
	}
	if size == bufferSize && b != nil {
		if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
			return p[:0]
		}
	}
	return make([]byte, 0, size)
}

// put takes back a buffer that is not used any more.
func (b *Buffers) put(p []byte) {
	if cap(p) == bufferSize && b != nil {
		b.pool.Put((*[bufferSize]byte)(p[:bufferSize]))
	}
}
