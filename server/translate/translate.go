// Package translate rewrites URLs of loopback services between the names that the host and
// a sidecar have for them.
package translate

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"penstock/config"
	"penstock/server/web"
)

// translateURL rewrites the host of an absolute http(s) or ws(s) URL between
// the names that the host ("host") and a sidecar ("sidecar") have for the same
// loopback service. Every other byte stays as it was: a signed URL survives.
func translateURL(raw, to string, c config.Translate) (out string, changed bool, err error) {
	start, end, err := hostSpan(raw)
	if err != nil {
		return "", false, err
	}
	name := strings.ToLower(strings.Trim(raw[start:end], "[]"))
	switch {
	case to == "sidecar" && loopbackName(name):
		return raw[:start] + bracketed(c.SidecarHost) + raw[end:], true, nil
	case to == "host" && (strings.EqualFold(name, c.SidecarHost) || slices.ContainsFunc(c.Aliases, func(a string) bool { return strings.EqualFold(a, name) })):
		return raw[:start] + "localhost" + raw[end:], true, nil
	}
	return raw, false, nil
}

// hostSpan is where the host is in the URL, brackets included (RFC 3986, 3.2.2).
func hostSpan(raw string) (start, end int, err error) {
	u, parseErr := url.Parse(raw)
	if parseErr != nil || u.Opaque != "" || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, strings.ToLower(u.Scheme)) {
		return 0, 0, web.BadRequest("url", "url must be an absolute http, https, ws or wss URL")
	}
	start = strings.Index(raw, "://") + len("://")
	end = len(raw)
	if i := strings.IndexAny(raw[start:], "/?#"); i >= 0 {
		end = start + i
	}
	// The user part may hold colons, and even "@" that is not encoded.
	if i := strings.LastIndexByte(raw[start:end], '@'); i >= 0 {
		start += i + 1
	}
	if strings.HasPrefix(raw[start:end], "[") {
		return start, start + strings.IndexByte(raw[start:end], ']') + 1, nil
	}
	if i := strings.IndexByte(raw[start:end], ':'); i >= 0 {
		end = start + i
	}
	return start, end, nil
}

// loopbackName takes localhost, 127.0.0.0/8, ::1 and the unspecified address,
// which servers print when they listen everywhere.
func loopbackName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || addr == netip.IPv4Unspecified()
}

// bracketed is the form an IPv6 address has in a URL.
func bracketed(host string) string {
	if ip := net.ParseIP(host); ip != nil && strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// Handler is POST /translate.
func Handler(intake *web.Intake, c config.Translate) web.Handler {
	return func(w *web.Reply, r *http.Request) error { return serve(w, r, intake, c) }
}

func serve(w *web.Reply, r *http.Request, intake *web.Intake, c config.Translate) error {
	body, held, err := intake.ReadBody(w, r)
	if err != nil {
		return err
	}
	defer held.Release()
	f, err := web.ParseObject(body, "")
	if err != nil {
		return err
	}
	var raw, to string
	if err := f.Into("url", "", &raw, "a string"); err != nil {
		return err
	}
	if err := f.Into("to", "", &to, "a string"); err != nil {
		return err
	}
	if to != "sidecar" && to != "host" {
		return web.BadRequest("to", `to must be "sidecar" or "host"`)
	}
	out, changed, err := translateURL(raw, to, c)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, struct {
		URL     string `json:"url"`
		Changed bool   `json:"changed"`
	}{out, changed})
	return nil
}
