package web

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"penstock/internal/bytesize"
	"penstock/server/listener"
)

const (
	BodyMax = 8 << 20 // bytes
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
	held := &BodyLease{intake: i}
	defer func() {
		if err != nil {
			held.Release()
		}
	}()
	decode, err := decoding(r.Header)
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
	body, err := readDecoded(in, decode, func(r io.Reader) io.Reader { return &metered{Reader: r, ctx: ctx, lease: held} })
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

func tooLarge() *Error {
	return Errorf(BodyTooLarge, "the body is over %s", bytesize.Human(BodyMax))
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

// decoder undoes a Content-Encoding.
type decoder func(io.Reader) (io.Reader, error)

// decoding picks the decoder of a body; nil where it comes as it is.
func decoding(h http.Header) (decoder, error) {
	switch coding := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ", "))); coding {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }, nil
	case "deflate":
		return inflate, nil
	default:
		e := Errorf(UnsupportedMediaType, "Content-Encoding %q is not supported: send gzip, deflate, or the body as it is", Clip(coding, 40))
		e.Param, e.Header = "Content-Encoding", http.Header{"Accept-Encoding": {"gzip, deflate"}}
		return nil, e
	}
}

// inflate takes the zlib format that RFC 9110 calls deflate, and the bare one that
// some clients take the name for.
func inflate(r io.Reader) (io.Reader, error) {
	in := bufio.NewReader(r)
	head, err := in.Peek(2)
	if err == nil && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(in)
	}
	return flate.NewReader(in), nil
}

// readDecoded holds what comes out of the decoder to the limit that in has, and
// reads in to its end.
func readDecoded(in io.ReadCloser, decode decoder, meter func(io.Reader) io.Reader) ([]byte, error) {
	if decode == nil {
		return io.ReadAll(meter(in))
	}
	plain, err := decode(in)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(meter(io.LimitReader(plain, BodyMax+1)))
	if err == nil && len(body) > BodyMax {
		err = &http.MaxBytesError{Limit: BodyMax}
	}
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, in)
	return body, err
}

// errBody is what a client is told of a body that can't be read.
func errBody(err error) string {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum), errors.Is(err, zlib.ErrDictionary), errors.As(err, &corrupt):
		return "it is not in its Content-Encoding"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early"
	}
	return "the connection broke"
}
