package media

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"penstock/backend"
	"penstock/internal/egress"
	"penstock/outcome"
	"penstock/server/web"
)

const (
	// fetchersMax is how many requests fetch at once, and fetchWait how long one waits for its turn.
	fetchersMax  = 8
	fetchWait    = 5 * time.Second
	redirectsMax = 5
)

// Fetcher gets what requests name by URL, from nowhere that the operator doesn't allow: each URL,
// redirects too, is held to the rules, and so is the address of each connection, after its name
// was resolved. It sends no credentials and no cookies, and uses no proxy: what a proxy connects to
// it couldn't hold to anything.
type Fetcher struct {
	rules   egress.Rules
	most    int64 // bytes of one
	timeout time.Duration
	wait    time.Duration // for a turn
	dialer  net.Dialer
	client  http.Client
	turns   *semaphore.Weighted
}

// NewFetcher has a request's fetches take at most timeout together, and each at most most bytes.
func NewFetcher(rules egress.Rules, most int64, timeout time.Duration) *Fetcher {
	f := &Fetcher{rules: rules, most: most, timeout: timeout, wait: fetchWait, turns: semaphore.NewWeighted(fetchersMax)}
	f.dialer.Control = f.checkSocket
	f.client = http.Client{
		CheckRedirect: f.checkRedirect,
		Transport: &http.Transport{
			DialContext:       f.dialer.DialContext,
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		},
	}
	return f
}

// Fetch gets what the batch still lacks, and gives all of it. A nil Fetcher is that of an operator
// who allows none. What is read counts among what the request holds. The end of ctx, which is
// the client's going, ends it.
func (b *Batch) Fetch(ctx context.Context, f *Fetcher, lease *web.BodyLease) ([]backend.Attachment, error) {
	var missing []*part
	for i := range b.parts {
		if b.parts[i].url != nil {
			missing = append(missing, &b.parts[i])
		}
	}
	if len(missing) == 0 {
		return b.attachments(), nil
	}
	if f == nil {
		return nil, web.BadRequest(missing[0].Where, "nothing is fetched from URLs here: send a data URI (data:image/png;base64,...), or have the operator set attachments.fetch")
	}
	done, err := f.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	bound, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	for _, p := range missing {
		data, err := f.get(bound, p.url, func(r io.Reader) io.Reader { return lease.Meter(ctx, r) }, b.room(f.most))
		switch {
		case ctx.Err() != nil:
			return nil, web.ClientGone(context.Cause(ctx))
		case errors.Is(err, errTooLarge):
			return nil, b.tooLarge(p, f.most)
		case err != nil:
			return nil, f.failed(p.Where, err)
		}
		if p.Name == "" {
			p.Name = nameOf(p.url)
		}
		if err := b.add(p, data, f.most); err != nil {
			return nil, err
		}
		p.url = nil
	}
	return b.attachments(), nil
}

// acquire waits for a turn, not for long: a slow host must not hold up what other clients fetch.
func (f *Fetcher) acquire(ctx context.Context) (done func(), err error) {
	bound, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	switch err := f.turns.Acquire(bound, 1); {
	case err == nil:
		return func() { f.turns.Release(1) }, nil
	case ctx.Err() != nil:
		return nil, web.ClientGone(context.Cause(ctx))
	}
	return nil, web.OverCapacity(web.Code(outcome.QueueFull), "too many requests are fetching images or files: nothing was started", fetchWait)
}

// get is what is at a URL, of at most most bytes.
func (f *Fetcher) get(ctx context.Context, u *url.URL, meter func(io.Reader) io.Reader, most int64) ([]byte, error) {
	if err := f.check(u); err != nil {
		return nil, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("User-Agent", "penstock")
	answer, err := f.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch coding := answer.Header.Get("Content-Encoding"); {
	case answer.StatusCode != http.StatusOK:
		return nil, refusal(fmt.Sprintf("its host answers %d", answer.StatusCode))
	case coding != "" && coding != "identity":
		return nil, refusal("it comes compressed, without being asked to")
	case answer.ContentLength > most:
		return nil, errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(meter(answer.Body), most+1))
	if int64(len(data)) > most {
		return nil, errTooLarge
	}
	return data, err
}

// refusal is why something is not fetched, in words for the client.
type refusal string

func (r refusal) Error() string { return string(r) }

const errNotPublic = refusal("its host has no address that is allowed: the operator's attachments.fetch_hosts opens what isn't public")

// check is of each URL before anything is asked of it.
func (f *Fetcher) check(u *url.URL) error {
	port := uint16(80)
	if u.Scheme == "https" {
		port = 443
	}
	if written := u.Port(); written != "" {
		n, err := strconv.ParseUint(written, 10, 16)
		if err != nil {
			return refusal("its port is none")
		}
		port = uint16(n)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refusal("it leads to something other than http and https")
	case u.User != nil:
		return refusal("it has a user name or a password in it")
	case !f.rules.AllowHost(u.Hostname(), port):
		return refusal("its host or port is not allowed: the operator's attachments.fetch_hosts has those that are")
	}
	return nil
}

func (f *Fetcher) checkRedirect(q *http.Request, before []*http.Request) error {
	if len(before) > redirectsMax {
		return refusal(fmt.Sprintf("it is redirected over %d times", redirectsMax))
	}
	q.Header.Del("Referer") // the URL before may be signed
	if err := f.check(q.URL); err != nil {
		return refusal("after a redirect, " + err.Error())
	}
	return nil
}

// checkSocket judges the address that a connection is about to be made to.
func (f *Fetcher) checkSocket(network, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !f.rules.AllowAddr(a) {
		return errNotPublic
	}
	return nil
}

// failed is what a client is told; the log has the cause without the URL, which may be signed.
func (f *Fetcher) failed(where string, err error) error {
	var why refusal
	var own *web.Error
	var resolving *net.DNSError
	var certificate *tls.CertificateVerificationError
	var waiting net.Error
	switch {
	case errors.As(err, &own): // there was no room for it
		return own
	case errors.As(err, &why):
	case errors.As(err, &waiting) && waiting.Timeout():
		why = refusal(fmt.Sprintf("it did not come in %s", f.timeout))
	case errors.As(err, &resolving):
		why = "its host is not known"
	case errors.As(err, &certificate):
		why = "its host's certificate can't be verified"
	default:
		why = "the connection to its host failed"
	}
	failed := web.BadRequest(where, "could not be fetched: %s. Mend the URL, or send a data URI (data:image/png;base64,...)", why)
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	failed.Cause = err
	return failed
}

// nameOf is the last element of a URL's path.
func nameOf(u *url.URL) string {
	if name := path.Base(u.Path); name != "." && name != "/" {
		return name
	}
	return ""
}
