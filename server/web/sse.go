package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NoTransform is for replies that come piece by piece: a proxy that compresses them
// would hold the pieces back.
const NoTransform = "no-store, no-transform"

// NoID is an event without a number.
const NoID = -1

// SSE writes server-sent events (WHATWG HTML, 9.2). Keep-alives are comments:
// stock SDKs turn any named event into a bogus chunk. While it rests it keeps next to
// nothing of what it has written.
//
// Only a stream that can be resumed has ids. The decoders of openai-python and
// httpx-sse never forget an id, and after one take each blank line for the end of an
// event, also where it is only that of a comment: there comments have none of their
// own. On all other streams they have, for readers that split at blank lines.
type SSE struct {
	w         *Reply
	json      *json.Encoder
	resumable bool
	frame     []byte // the last one's room, for the next
}

func NewSSE(w *Reply, resumable bool) SSE {
	return SSE{w: w, json: NewLineEncoder(w), resumable: resumable}
}

// NewLineEncoder writes JSON as newEncoder does, each value on one line for every
// reader.
func NewLineEncoder(w io.Writer) *json.Encoder { return newEncoder(oneLine{w}) }

// oneLine takes JSON and leaves no line break in it that any reader knows. Of those
// that Unicode has beside CR and LF, and at which Python's splitlines and with it
// httpx's iter_lines cut, JSON as newEncoder writes it leaves one: U+0085.
type oneLine struct{ io.Writer }

func (w oneLine) Write(p []byte) (int, error) {
	line := p
	if next := []byte("\u0085"); bytes.Contains(p, next) {
		line = bytes.ReplaceAll(p, next, []byte(`\u0085`))
	}
	if _, err := w.Writer.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Open sends the headers and a first comment at once, so that a proxy sees a
// living reply however long the queue is.
func (s *SSE) Open(first string) error {
	h := s.w.Header()
	// It is always UTF-8, but a reader that isn't told so, such as Python's requests,
	// takes it for Latin-1, as of any text.
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", NoTransform)
	h.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
	return s.Comment(first)
}

// Comment is seen by no SDK. A line break would end it early.
func (s *SSE) Comment(text string) error {
	line := ": " + strings.Map(inLine, text) + "\n"
	if !s.resumable {
		line += "\n"
	}
	if _, err := io.WriteString(s.w, line); err != nil {
		return err
	}
	return s.Flush()
}

// inLine puts a space in the place of what could break a line.
func inLine(r rune) rune {
	if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) {
		return ' '
	}
	return r
}

// Data writes one frame, its number last: some readers want an event to begin with
// its data. Flush sends it.
func (s *SSE) Data(id int64, v any) error { return s.Event("", id, v) }

// Event is Data with the event's name, for the dialects that have some; "" is none.
func (s *SSE) Event(name string, id int64, v any) error {
	return s.Piecewise(name, id, func(w io.Writer) error { return s.json.Encode(v) })
}

// Piecewise is Event for JSON that is too long to be held: write writes it, without a line
// feed that isn't its last byte.
func (s *SSE) Piecewise(name string, id int64, write func(io.Writer) error) error {
	head := "data: "
	if name != "" {
		head = "event: " + name + "\ndata: "
	}
	if _, err := io.WriteString(s.w, head); err != nil {
		return err
	}
	if err := write(oneLine{s.w}); err != nil {
		return err
	}
	_, err := s.w.Write(s.appendEnd(nil, id))
	return err
}

// Raw writes frames as they are.
func (s *SSE) Raw(frames string) error {
	_, err := io.WriteString(s.w, frames)
	return err
}

// TextFrame is all that a frame has around a text: most of what a stream says, and cheaper
// than to encode it each time. The zero value is none yet.
type TextFrame struct{ Head, Tail string }

// Around takes a value apart whose JSON has the text somewhere as a whole string, so that
// others can be put in its place. No other value may be that text.
func (f *TextFrame) Around(v any, text string) error { return f.Named("", v, text) }

// Named is Around for an event with a name.
func (f *TextFrame) Named(name string, v any, text string) error {
	var whole, quoted strings.Builder
	if err := errors.Join(NewLineEncoder(&whole).Encode(v), NewLineEncoder(&quoted).Encode(text)); err != nil {
		return err
	}
	head, tail, ok := strings.Cut(whole.String(), ":"+strings.TrimSuffix(quoted.String(), "\n"))
	if !ok {
		return fmt.Errorf("frame %s: no text to be cut out", whole.String())
	}
	f.Head, f.Tail = "data: "+head+":", tail
	if name != "" {
		f.Head = "event: " + name + "\n" + f.Head
	}
	return nil
}

// Text writes a frame as Data does, of which only the text is new, and a number at the end
// of its object, the responses dialect's sequence_number; NoID is none. It gives the text as
// JSON, which is there until the next frame.
func (s *SSE) Text(id int64, f *TextFrame, text string, number int64) (quoted []byte, err error) {
	b := slices.Grow(s.frame[:0], len(f.Head)+len(text)+len(f.Tail)+textRoom)
	b = append(b, f.Head...)
	if b, err = AppendText(b, text); err != nil {
		return nil, err
	}
	end := len(b)
	if number == NoID {
		b = append(b, f.Tail...)
	} else {
		b = append(b, strings.TrimSuffix(f.Tail, "}\n")...)
		b = strconv.AppendInt(append(b, numberMember...), number, 10)
		b = append(b, "}\n"...)
	}
	s.frame = s.appendEnd(b, id)
	_, err = s.w.Write(s.frame)
	return s.frame[len(f.Head):end], err
}

const numberMember = `,"sequence_number":`

// textRoom is for what a frame has beside, and some escapes.
const textRoom = 64

// AppendText adds a JSON string that is as NewLineEncoder writes it. What needs more than
// the commonest escapes that writes.
func AppendText(b []byte, text string) ([]byte, error) {
	begin := len(b)
	b = append(b, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c < ' ', c >= utf8.RuneSelf:
			all := bytes.NewBuffer(b[:begin])
			if err := NewLineEncoder(all).Encode(text); err != nil {
				return nil, err
			}
			return bytes.TrimSuffix(all.Bytes(), []byte("\n")), nil
		default:
			b = append(b, c)
		}
	}
	return append(b, '"'), nil
}

// appendEnd adds what follows the data of a frame.
func (s *SSE) appendEnd(b []byte, id int64) []byte {
	if s.resumable && id != NoID {
		b = strconv.AppendInt(append(b, "id: "...), id, 10)
		b = append(b, '\n')
	}
	return append(b, '\n')
}

// Flush sends what was written.
func (s *SSE) Flush() error {
	if cap(s.frame) > frameKept {
		s.frame = nil
	}
	return s.w.FlushError()
}

// frameKept is room for a frame of some words, which comes alone.
const frameKept = 512

// LastEventID is -1 without the header.
func LastEventID(r *http.Request) (int64, error) {
	v := r.Header.Get("Last-Event-ID")
	if v == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, BadRequest("Last-Event-ID", "Last-Event-ID must be the number of an event")
	}
	return n, nil
}
