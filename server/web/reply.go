package web

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"penstock/server/listener"
)

const (
	// writePiece is what a slow reader has to take in WriteStall at worst: it is fine
	// as long as it reads.
	writePiece = 32 << 10
	// armPiece is how much may be written between two looks at the clock: small
	// beside net/http's buffer, for a call on a host without a vDSO can take longer
	// than all else that a short event needs.
	armPiece = 1 << 10
)

// Reply counts what is written and gives every write a deadline of its own, or
// none; one for the whole reply would cut long ones.
type Reply struct {
	http.ResponseWriter
	ctrl       *http.ResponseController
	status     int
	Bytes      int64
	armed      time.Time // when the deadline was last moved
	sinceArmed int       // bytes since the last look at the clock
	OnWrite    func(int) // called with the bytes of each piece; may be nil
	noDeadline bool      // see WaitForReader
	failed     error     // of the first write that failed
	shape      Shape     // of an error
	requestID  string
}

func NewReply(w http.ResponseWriter) *Reply {
	return &Reply{ResponseWriter: w, ctrl: http.NewResponseController(w)}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *Reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *Reply) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.arm()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *Reply) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	written := 0
	for {
		piece := p[written:min(len(p), written+writePiece)]
		if w.sinceArmed += len(piece); w.sinceArmed >= armPiece {
			w.arm()
		}
		n, err := w.ResponseWriter.Write(piece)
		written += n
		w.Bytes += int64(n)
		if w.OnWrite != nil {
			w.OnWrite(n)
		}
		if err != nil {
			w.fail(err)
		}
		if err != nil || written >= len(p) {
			return written, err
		}
	}
}

// FlushError is what http.ResponseController calls.
func (w *Reply) FlushError() error {
	w.arm()
	err := w.ctrl.Flush()
	if err != nil {
		w.fail(err)
	}
	return err
}

func (w *Reply) fail(err error) {
	if w.failed == nil {
		w.failed = err
	}
}

// Lost is why the reader can't be written to any more; nil is that it can.
func (w *Reply) Lost() error { return w.failed }

// WaitForReader lets the rest of the reply wait for its reader as long as the
// connection lives: it is a run's answer, whose bytes are in the spool, and a
// stalled reader has not left. Hangups, the kernel's own probes of a silent peer
// and the daemon's end bound it, and connections.CloseStalled once the run is over.
func (w *Reply) WaitForReader() {
	w.noDeadline = true
	// Refused only by test recorders, which never block.
	_ = w.ctrl.SetWriteDeadline(time.Time{})
}

// arm moves the write deadline, at most once a second: each move costs a timer.
func (w *Reply) arm() {
	if w.noDeadline {
		return
	}
	w.sinceArmed = 0
	if now := time.Now(); now.Sub(w.armed) > time.Second {
		w.armed = now
		// Refused only by test recorders, which never block.
		_ = w.ctrl.SetWriteDeadline(now.Add(listener.WriteStall + time.Second))
	}
}

// Abort cuts the connection of a reply that has begun and broke off: what is out
// must not look like a whole one. status is for the log line; 0 leaves it.
func (w *Reply) Abort(status int) {
	if status != 0 {
		w.status = status
	}
	if conn, _, err := w.ctrl.Hijack(); err == nil {
		_ = conn.Close() // there is nothing left to be told
	}
}

// Begun tells whether the status line is out, or as good as.
func (w *Reply) Begun() bool { return w.status != 0 }

// WriteError is the one place that writes a failed reply, in w's shape where that is a
// *Reply.
func WriteError(w http.ResponseWriter, e *Error) {
	h := w.Header()
	for k, v := range e.Header {
		h[k] = v
	}
	if e.Retry != nil {
		h.Set("X-Should-Retry", strconv.FormatBool(*e.Retry))
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(e.RetryAfter))
	}
	if r, ok := w.(*Reply); ok && r.shape == Anthropic {
		WriteJSON(w, Anthropic.status(e), e.AnthropicBody(r.requestID))
		return
	}
	WriteJSON(w, OpenAI.status(e), map[string]ErrorBody{"error": e.Body()})
}

// retryAfter is in whole seconds (RFC 9110, 10.2.3), at least one.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Max(1, math.Ceil(d.Seconds()))))
}
