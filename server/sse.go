package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// sse writes server-sent events (WHATWG HTML, 9.2). Keep-alives are comments:
// stock SDKs turn any named event into a bogus chunk. It keeps nothing of what
// it has written.
type sse struct {
	w    *reply
	json *json.Encoder
}

func newSSE(w *reply) sse { return sse{w: w, json: newEncoder(w)} }

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
	line := strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
	if _, err := io.WriteString(s.w, ": "+line+"\n\n"); err != nil {
		return err
	}
	return s.flush()
}

// data writes one frame with its event number; flush sends it.
func (s *sse) data(id uint64, v any) error {
	if _, err := io.WriteString(s.w, "id: "+strconv.FormatUint(id, 10)+"\ndata: "); err != nil {
		return err
	}
	if err := s.json.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(s.w, "\n")
	return err
}

// failure is the error frame; it has no id, for nothing follows it.
func (s *sse) failure(e *httpError) error {
	text, err := marshal(map[string]errorBody{"error": e.body()})
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.w, "data: "+string(text)+"\n\n")
	return err
}

// done ends the stream; nothing may follow: some clients append it to the text.
func (s *sse) done() error {
	if _, err := io.WriteString(s.w, "data: [DONE]\n\n"); err != nil {
		return err
	}
	return s.flush()
}

func (s *sse) flush() error { return s.w.FlushError() }
