package web

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

// OriginCheck keeps web pages away from a local agent: a page can make a browser
// send requests to localhost, but it can't choose Host or Origin freely, nor
// send JSON without the server's word.
type OriginCheck struct {
	names   []string // host names and addresses allowed in Host, lower case, without port
	origins []string // allowed in Origin beside the daemon's own; "scheme://*" is any host
}

func NewOriginCheck(c config.Config) OriginCheck {
	g := OriginCheck{names: []string{"localhost"}, origins: c.AllowedOrigins}
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
// Host to speak of: there the file's mode decides.
func (g OriginCheck) check(r *http.Request) error {
	p := peerOf(r.Context())
	if !p.unix {
		if !g.allows(r.Host, p.local) {
			return Errorf(HostNotAllowed, "host %q is not allowed here: add it to allowed_hosts", Clip(r.Host, 100))
		}
		if !sameOrigin(r) && !g.allowsOrigin(r.Header.Get("Origin")) {
			return Errorf(OriginNotAllowed, "origin %q is not allowed here: add it to allowed_origins, if what it stands for may run agents", Clip(r.Header.Get("Origin"), 100))
		}
	}
	if r.Method == http.MethodPost && r.ContentLength != 0 && !isJSON(r.Header.Get("Content-Type")) {
		e := Errorf(UnsupportedMediaType, "Content-Type must be application/json")
		e.Param = "Content-Type"
		return e
	}
	return nil
}

// allows takes loopback, what is configured, and the very address that was
// connected to: a name that was rebound to it is none of them.
func (g OriginCheck) allows(hostport string, local netip.Addr) bool {
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

// sameOrigin compares Origin with Host. A proxy may have dropped Host's port
// (nginx's $host does): then the names have to be the same, and a browser that says
// how the two relate has to say the same.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return len(r.Header.Values("Origin")) == 0
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null" too: a sandboxed frame or a file
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	relation := r.Header.Get("Sec-Fetch-Site")
	return (relation == "" || relation == "same-origin") && withoutPort(r.Host) && hostOnly(u.Host) == hostOnly(r.Host)
}

func withoutPort(host string) bool {
	return !strings.Contains(host[strings.LastIndexByte(host, ']')+1:], ":")
}

// allowsOrigin takes what allowed_origins names.
func (g OriginCheck) allowsOrigin(origin string) bool {
	return origin != "" && slices.ContainsFunc(g.origins, func(allowed string) bool {
		if scheme, any := strings.CutSuffix(allowed, "*"); any {
			return strings.HasPrefix(strings.ToLower(origin), scheme)
		}
		return strings.EqualFold(origin, allowed)
	})
}

// setCORS lets a page of an allowed origin read the reply (Fetch, CORS protocol).
func (g OriginCheck) setCORS(h http.Header, r *http.Request) {
	if len(g.origins) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); g.allowsOrigin(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "X-Run-Id, X-Request-Id, Request-Id, X-Session-Id, X-Penstock-Ignored, X-Penstock-Estimated, X-Should-Retry, Retry-After")
	}
}

// preflight answers a browser that asks, without a token, whether it may send a
// request of an allowed origin; answered is false for any other request.
func (g OriginCheck) preflight(w http.ResponseWriter, r *http.Request) (answered bool) {
	method := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || method == "" || !g.allowsOrigin(r.Header.Get("Origin")) || g.check(r) != nil {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked) // SDKs send dozens of their own
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
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
