package server

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// sse writes server-sent events (WHATWG HTML, 9.2). Keep-alives are comments:
// stock SDKs turn any named event into a bogus chunk.
type sse struct {
	w   *reply
	buf []byte
}

// open sends the headers and a first comment at once, so that a proxy sees a
// living reply however long the queue is.
func (s *sse) open(first string) error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
	return s.comment(first)
}

// comment is seen by no SDK. A line break would end it early.
func (s *sse) comment(text string) error {
	s.buf = append(s.buf[:0], ": "...)
	s.buf = append(s.buf, strings.NewReplacer("\n", " ", "\r", " ").Replace(text)...)
	s.buf = append(s.buf, "\n\n"...)
	if _, err := s.w.Write(s.buf); err != nil {
		return err
	}
	return s.flush()
}

// data writes one frame with its event number; flush sends it.
func (s *sse) data(id uint64, v any) error {
	out := bytes.NewBuffer(append(strconv.AppendUint(append(s.buf[:0], "id: "...), id, 10), "\ndata: "...))
	if err := encode(out, v); err != nil {
		return err
	}
	out.WriteByte('\n')
	s.buf = out.Bytes()
	_, err := s.w.Write(s.buf)
	if cap(s.buf) > writePiece {
		s.buf = nil // one large frame must not stay with the stream for its life
	}
	return err
}

// failure is the error frame; it has no id, for nothing follows it.
func (s *sse) failure(e *httpError) error {
	text, err := marshal(map[string]errorBody{"error": e.body()})
	if err != nil {
		return err
	}
	_, err = s.w.Write([]byte("data: " + string(text) + "\n\n"))
	return err
}

// done ends the stream; nothing may follow: some clients append it to the text.
func (s *sse) done() error {
	if _, err := s.w.Write([]byte("data: [DONE]\n\n")); err != nil {
		return err
	}
	return s.flush()
}

func (s *sse) flush() error { return s.w.FlushError() }
