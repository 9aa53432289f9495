package web

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"penstock/server/listener"
)

const (
	// bodyStall is how long a body may stand still, and bodyPace the bytes in a
	// second that it has to come with at least, after that.
	bodyStall  = 30 * time.Second
	bodyPace   = 1 << 10
	bodyUnread = 5 * time.Second // for one that is not asked for
)

// boundUnreadBody is for a request whose body no handler has asked for yet: it is not waited
// for before the reply, nor for long after it, and ends the connection.
func boundUnreadBody(w *Reply, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	w.Header().Set("Connection", "close")
	// Refused only by test recorders, whose bodies are in memory.
	_ = w.ctrl.SetReadDeadline(time.Now().Add(bodyUnread))
}

// ReadBody takes the whole body, decoded, and the room it holds, to be released
// when nothing of it is needed any more. The end must be seen: only then does
// net/http watch the connection and end the request's context when the client
// goes away.
func (i *Intake) ReadBody(w *Reply, r *http.Request) (_ []byte, _ *BodyLease, err error) {
	held := i.NewLease()
	defer func() {
		if err != nil {
			held.Release()
		}
	}()
	decode, err := i.decoding(r)
	if err != nil {
		return nil, nil, err
	}
	if r.ContentLength > BodyMax && r.Header.Get("Expect") != "" {
		return nil, nil, tooLarge() // the client asks before it sends
	}
	x, ctx := InfoOf(r), r.Context()
	x.Conn.SetPhase(listener.Receiving)
	defer x.Conn.SetPhase(listener.Replying)
	in := &paced{ReadCloser: http.MaxBytesReader(w, r.Body, BodyMax), ctrl: w.ctrl, begun: time.Now()}
	body, err := readDecoded(in, decode, func(r io.Reader) io.Reader { return held.Meter(ctx, r) })
	var over *http.MaxBytesError
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return nil, nil, refused
	case errors.As(err, &over):
		return nil, nil, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		e := Errorf(BodyTimeout, "the body did not come: %d bytes in %s", in.read, time.Since(in.begun).Round(time.Second))
		e.Cause = err
		return nil, nil, e
	case err != nil:
		e := BadRequest("", "the body could not be read: %s", errBody(err))
		e.Cause = err
		return nil, nil, e
	}
	// A deadline left standing would end the watch, and with it the run.
	_ = w.ctrl.SetReadDeadline(time.Time{})
	if !peerOf(r.Context()).reserved {
		w.Header().Del("Connection")
	}
	return bytes.TrimPrefix(body, []byte("\ufeff")), held, nil // the mark that some tools put before UTF-8
}

// paced reads a body that has to make progress: a bound for the whole would cut
// off a client with a slow line.
type paced struct {
	io.ReadCloser
	ctrl  *http.ResponseController
	begun time.Time
	armed time.Time
	read  int64
}

func (p *paced) Read(b []byte) (int, error) {
	if now := time.Now(); p.armed.IsZero() || now.Sub(p.armed) > time.Second {
		p.armed = now
		// Refused only by test recorders, whose bodies are in memory.
		_ = p.ctrl.SetReadDeadline(p.deadline(now))
	}
	n, err := p.ReadCloser.Read(b)
	p.read += int64(n)
	return n, err
}

// deadline is for the next byte, and for all so far at the lowest pace.
func (p *paced) deadline(now time.Time) time.Time {
	next, all := now.Add(bodyStall), p.begun.Add(bodyStall+time.Duration(p.read)*time.Second/bodyPace)
	if all.Before(next) {
		return all
	}
	return next
}
