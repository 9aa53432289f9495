package server

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"penstock/config"
)

// guard keeps web pages away from a local agent: a page can make a browser
// send requests to localhost, but it can't choose Host or Origin freely, nor
// send JSON without the server's word.
type guard struct {
	names []string // host names and addresses allowed in Host, lower case, without port
}

func newGuard(c config.Config) guard {
	g := guard{names: []string{"localhost"}}
	for _, h := range c.AllowedHosts {
		g.names = append(g.names, hostOnly(h))
	}
	for _, a := range c.Listen {
		if host, _, err := net.SplitHostPort(a); err == nil && host != "" && !strings.HasPrefix(a, "unix:") {
			g.names = append(g.names, strings.ToLower(host))
		}
	}
	return g
}

// check refuses what did not come from where it should. Unix sockets have no
// Host to speak of: there the file's mode is the guard.
func (g guard) check(r *http.Request) error {
	p := peerOf(r.Context())
	if !p.unix {
		if !g.allows(r.Host, p.local) {
			return refusal(http.StatusForbidden, "host_not_allowed", "host %q is not allowed here: add it to allowed_hosts", clip(r.Host, 100))
		}
		if !g.sameOrigin(r) {
			return refusal(http.StatusForbidden, "origin_not_allowed", "origin %q is not allowed here", clip(r.Header.Get("Origin"), 100))
		}
	}
	if r.Method == http.MethodPost && r.ContentLength != 0 && !isJSON(r.Header.Get("Content-Type")) {
		e := refusal(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Type must be application/json")
		e.Param = "Content-Type"
		return e
	}
	return nil
}

// allows takes loopback, what is configured, and the very address that was
// connected to: a name that was rebound to it is none of them.
func (g guard) allows(hostport string, local netip.Addr) bool {
	host := hostOnly(hostport)
	if host == "" {
		return false
	}
	if slices.Contains(g.names, host) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || (local.IsValid() && addr == local.Unmap())
}

func (g guard) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return len(r.Header.Values("Origin")) == 0
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null" too: a sandboxed frame or a file
	}
	return strings.EqualFold(u.Host, r.Host)
}

// hostOnly is the host of a Host header, lower case, without port and brackets.
func hostOnly(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// clip keeps a client's text short enough for a message.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
