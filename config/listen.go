package config

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"penstock/internal/hint"
)

// sunPathMax is the longest name a unix socket can have (unix(7): 108 with the NUL).
const sunPathMax = 107

func (l *loader) listen() []string {
	const key = "listen"
	var out []string
	given := l.config.Listen
	if len(given) == 0 && !l.bad[key] {
		l.fail(key, `write ["127.0.0.1:3344"]`, "is empty")
	}
	for _, address := range given {
		full, f := l.address(address)
		if f == nil && slices.Contains(out, full) {
			f = hint.Errorf("", "%q is there twice", address)
		}
		if f != nil {
			l.fail(key, f.Hint, "%s", f.Message())
			continue
		}
		out = append(out, full)
	}
	return out
}

func (l *loader) address(address string) (string, *hint.Error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		full, f := l.expand(path)
		if f == nil && len(full) > sunPathMax {
			f = hint.Errorf("", "%q: a socket's path has at most %d bytes", address, sunPathMax)
		}
		return "unix:" + full, f
	}
	if strings.HasPrefix(address, "/") {
		return "", hint.Errorf("write unix:"+address, "%q is not an address", address)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", hint.Errorf(`write "127.0.0.1:3344" or "unix:/path"`, "%q is not an address", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", hint.Errorf("from 0 to 65535; 0 takes any free one", "%q: port %q", address, port)
	} else if strconv.FormatUint(n, 10) != port {
		return "", hint.Errorf("", "%q: port %q", address, port)
	}
	return address, nil
}

// Loopback is true when only this machine can reach a listen address.
func Loopback(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// checkOpenToAll refuses to let the network in without tokens.
func (l *loader) checkOpenToAll() {
	c := l.config
	if len(c.Tokens) > 0 || c.TokensFile != "" || l.bad["tokens_file"] {
		return
	}
	for _, address := range c.Listen {
		if !Loopback(address) {
			l.fail("listen", "set tokens_file, or listen on 127.0.0.1", "%q can be reached from other machines, and there are no tokens", address)
		}
	}
	if slices.Contains(c.AllowedOrigins, "null") {
		l.fail("allowed_origins", "set tokens_file, or leave it out", "%q is what any web page's sandboxed frame sends, and there are no tokens", "null")
	}
}

func (l *loader) hosts(key string, given []string) []string {
	var out []string
	for _, h := range given {
		if f := checkHost(h); f != nil {
			l.fail(key, f.Hint, "%s", f.Message())
			continue
		}
		out = append(out, h)
	}
	return out
}

// allowedOrigins takes what browsers and desktop apps write into Origin.
func (l *loader) allowedOrigins(key string, given []string) []string {
	var out []string
	for _, o := range given {
		if f := checkOrigin(o); f != nil {
			l.fail(key, f.Hint, "%s", f.Message())
			continue
		}
		out = append(out, o)
	}
	return out
}

func checkOrigin(o string) *hint.Error {
	if o == "null" {
		return nil
	}
	scheme, host, ok := strings.Cut(o, "://")
	web := scheme == "http" || scheme == "https"
	switch {
	case o == "*" || web && strings.Contains(host, "*"):
		return hint.Errorf("write each origin: whoever makes a page could use the agents otherwise", "%q is every web page", o)
	case !ok || o != strings.ToLower(o) || !regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`).MatchString(scheme),
		!regexp.MustCompile(`^(\*|[a-z0-9._-]*|\[[0-9a-f:.]+\])(:[0-9]+)?$`).MatchString(host), web && host == "":
		return hint.Errorf(`write "https://chat.example.net", "app://obsidian.md", "vscode-webview://*" or "null"`, "%q is not an origin", o)
	}
	return nil
}

func (l *loader) checkHostName(key, h string) {
	if f := checkHost(h); f != nil && !l.bad[key] {
		l.fail(key, f.Hint, "%s", f.Message())
	}
}

// checkHost takes a bare name or address: no scheme, no port, no path.
func checkHost(h string) *hint.Error {
	if ip, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil && ip.IsValid() {
		return nil
	}
	if h == "" || len(h) > 253 || strings.Trim(h, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
		return hint.Errorf("a bare name, without scheme and port", "%q is not a host name", h)
	}
	return nil
}
