package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// askMax is how long a plain question may take.
	askMax = 30 * time.Second
	// replyMax bounds a plain reply, in bytes.
	replyMax = 64 << 20
)

// Client asks one daemon. Safe for concurrent use.
type Client struct {
	address string
	base    string // of every URL, without a slash at the end
	token   string
	http    *http.Client
}

// New takes http://HOST:PORT, https://..., HOST:PORT or unix:/PATH, and a
// token, "" for none. It connects to nothing.
func New(address, token string) (*Client, error) {
	c := &Client{address: address, token: token}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	c.http = &http.Client{Transport: transport, CheckRedirect: noRedirect}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		path = "/" + strings.TrimLeft(path, "/") // also unix:///run/...
		c.base = "http://penstock"
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return c, nil
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("address %q: want http://HOST:PORT or unix:/PATH", c.address)
	}
	c.base = strings.TrimRight(u.String(), "/")
	return c, nil
}

// Address is what New was given.
func (c *Client) Address() string { return c.address }

// request is one question; a body is JSON.
type request struct {
	method, path string
	body         []byte
	header       http.Header
}

// noRedirect follows no redirection: a daemon sends none, and the token and the prompt
// would go with it.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// send gives a reply of status below 300; any other is an *Error, and a daemon
// that isn't there *Unreachable. The caller closes the reply's body.
func (c *Client) send(ctx context.Context, q request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, c.base+q.path, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	for name, values := range q.header {
		req.Header[name] = values
	}
	if len(q.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &Unreachable{Address: c.address, Err: plainCause(err)}
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// ask sends a plain question and decodes its answer.
func (c *Client) ask(ctx context.Context, q request, into any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	resp, err := c.send(ctx, q)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, c.decode(resp.Body, into)
}

func (c *Client) decode(r io.Reader, into any) error {
	if err := json.NewDecoder(io.LimitReader(r, replyMax)).Decode(into); err != nil {
		return fmt.Errorf("%s: not an answer of penstock: %w", c.address, err)
	}
	return nil
}

// plainCause drops the method, the URL and the address, which the caller tells better.
func plainCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		err = dial.Err
	}
	return err
}
