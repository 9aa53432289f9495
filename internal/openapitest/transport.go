package openapitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
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

// Main runs a package's tests with these transports held against the document:
// what is not as documented is shown when it is found, once, and fails the run.
func Main(m *testing.M, transports ...*http.RoundTripper) int {
	d, err := New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var mu sync.Mutex
	found := map[string]bool{}
	report := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if !found[err.Error()] {
			found[err.Error()] = true
			fmt.Printf("--- FAIL: undocumented: %s\n", err)
		}
	}
	for _, t := range transports {
		*t = d.Transport(*t, report)
	}
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	if len(found) > 0 {
		return 1
	}
	return code
}
