package openapitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// Transport is base with every exchange held against the document. report is
// called with what is not as documented, from the goroutine that reads the
// reply, while it reads.
func (d *Document) Transport(base http.RoundTripper, report func(error)) http.RoundTripper {
	return &transport{document: d, base: base, report: report}
}

type transport struct {
	document *Document
	base     http.RoundTripper
	report   func(error)
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil && r.Body != http.NoBody {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close() // all of it has been read
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	tell := func(err error) {
		if err != nil {
			t.report(fmt.Errorf("openapi.json: %s %s, %d: %w", r.Method, r.URL.Path, resp.StatusCode, err))
		}
	}
	if taken(resp) {
		tell(t.document.checkRequest(r, sent))
	}
	body, err := t.document.checkHead(r, resp)
	tell(err)
	if body != nil && r.Method != http.MethodHead {
		resp.Body = &watched{ReadCloser: resp.Body, body: body, tell: tell}
	}
	return resp, nil
}

// taken tells whether the daemon found nothing wrong with the request itself.
func taken(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusBadRequest: // X-Should-Retry is of a run that failed
		return resp.Header.Get("X-Should-Retry") != ""
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return resp.StatusCode < 300
}

// watched shows a body to its check as it is read.
type watched struct {
	io.ReadCloser
	body bodyCheck
	tell func(error)
	over bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if w.over {
		return n, err
	}
	failed := w.body.add(p[:n])
	if failed == nil && err == io.EOF {
		failed = w.body.end()
	}
	w.over = failed != nil || err != nil
	w.tell(failed)
	return n, err
}
