package server

import (
	"net/http"
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

// reply counts what is written and gives every write a deadline of its own, or
// none; one for the whole reply would cut long ones.
type reply struct {
	http.ResponseWriter
	ctrl       *http.ResponseController
	status     int
	bytes      int64
	armed      time.Time // when the deadline was last moved
	sinceArmed int       // bytes since the last look at the clock
	onWrite    func(int) // told each piece's bytes; may be nil
	noDeadline bool      // see waitForReader
}

func newReply(w http.ResponseWriter) *reply {
	return &reply{ResponseWriter: w, ctrl: http.NewResponseController(w)}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *reply) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.arm()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *reply) Write(p []byte) (int, error) {
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
		w.bytes += int64(n)
		if w.onWrite != nil {
			w.onWrite(n)
		}
		if err != nil || written >= len(p) {
			return written, err
		}
	}
}

// FlushError is what http.ResponseController calls.
func (w *reply) FlushError() error {
	w.arm()
	return w.ctrl.Flush()
}

// waitForReader lets the rest of the reply wait for its reader as long as the
// connection lives: it is a run's answer, whose bytes are in the spool, and a
// stalled reader has not left. Hangups, the kernel's own probes of a silent peer
// and the daemon's end bound it, and connections.CloseStalled once the run is over.
func (w *reply) waitForReader() {
	w.noDeadline = true
	// Refused only by test recorders, which never block.
	_ = w.ctrl.SetWriteDeadline(time.Time{})
}

// arm moves the write deadline, at most once a second: each move costs a timer.
func (w *reply) arm() {
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

// begun tells whether the status line is out, or as good as.
func (w *reply) begun() bool { return w.status != 0 }
