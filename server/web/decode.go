package web

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"penstock/internal/bytesize"
)

// codings are what the body of a request may come in, beside as it is.
const codings = "gzip, deflate, zstd"

// decoder undoes a Content-Encoding.
type decoder func(io.Reader) (io.ReadCloser, error)

// decoding picks the decoder of a request's body; nil where it comes as it is.
func (i *Intake) decoding(r *http.Request) (decoder, error) {
	switch coding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ", "))); coding {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		return func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }, nil
	case "deflate":
		return inflate, nil
	case "zstd":
		return func(in io.Reader) (io.ReadCloser, error) { return i.unzstd(r.Context(), in) }, nil
	default:
		e := Errorf(UnsupportedMediaType, "Content-Encoding %q is not supported: send one of %s, or the body as it is", Clip(coding, 40), codings)
		e.Param, e.Header = "Content-Encoding", http.Header{"Accept-Encoding": {codings}}
		return nil, e
	}
}

// inflate takes the zlib format that RFC 9110 calls deflate, and the bare one that
// some clients take the name for.
func inflate(r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReader(r)
	head, err := in.Peek(2)
	if err == nil && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(in)
	}
	return flate.NewReader(in), nil
}

// zstdWindow bounds what is held of the text before; RFC 9659 lets an HTTP client rely on
// as much.
const zstdWindow = 8 << 20

// unzstd takes the whole body before it decodes any: a few bytes can ask for a whole
// window, so that one is given to no more bodies than there are decoders, and to none that is
// still on its way.
func (i *Intake) unzstd(ctx context.Context, in io.Reader) (_ io.ReadCloser, err error) {
	u := &unzstd{held: &BodyLease{intake: i}, done: func() {}}
	defer func() {
		if err != nil {
			_ = u.Close() // never fails
		}
	}()
	body, err := io.ReadAll(&metered{Reader: in, ctx: ctx, lease: u.held})
	if err != nil {
		return nil, err
	}
	if u.done, err = i.AcquireDecoder(ctx, bodyFree+zstdWindow); err != nil {
		u.done = func() {}
		return nil, err
	}
	u.decoder, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
	return u, err
}

// unzstd is a body that is here, being decoded.
type unzstd struct {
	decoder *zstd.Decoder
	held    *BodyLease // of the body as it came
	done    func()     // gives the turn back
}

func (u *unzstd) Read(p []byte) (int, error) {
	n, err := u.decoder.Read(p)
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return n, err
	case errors.Is(err, zstd.ErrDecoderSizeExceeded): // a frame without a window of its own: all of it is one
		return n, tooLarge()
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return n, BadRequest("Content-Encoding", "the body's zstd window is over %s, or a block of it over its window: compress it with a smaller window (--long and --ultra enlarge it)", bytesize.Human(zstdWindow))
	}
	return n, errors.Join(errNotInCoding, err)
}

func (u *unzstd) Close() error {
	if u.decoder != nil {
		u.decoder.Close()
	}
	u.done()
	u.held.Release()
	return nil
}

// errNotInCoding is of a body that isn't what its Content-Encoding says.
var errNotInCoding = errors.New("it is not in its Content-Encoding")

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
	defer plain.Close()
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
	case errors.Is(err, errNotInCoding), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum),
		errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum), errors.Is(err, zlib.ErrDictionary), errors.As(err, &corrupt):
		return errNotInCoding.Error()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early"
	}
	return "the connection broke"
}
