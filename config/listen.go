package config

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sunPathMax is the longest name a unix socket can have (unix(7): 108 with the NUL).
const sunPathMax = 107

func (b *builder) listen() []string {
	const key = "listen"
	var out []string
	given := value[[]string](b.layers, key)
	if len(given) == 0 && !b.bad[key] {
		b.reject(key, `write ["127.0.0.1:3344"]`, "is empty")
	}
	for _, address := range given {
		full, f := b.address(address)
		if f == nil && slices.Contains(out, full) {
			f = faultf("", "%q is there twice", address)
		}
		if f != nil {
			b.reject(key, f.hint, "%s", f.message)
			continue
		}
		out = append(out, full)
	}
	return out
}

func (b *builder) address(address string) (string, *fault) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		full, f := b.expand(path)
		if f == nil && len(full) > sunPathMax {
			f = faultf("", "%q: a socket's path has at most %d bytes", address, sunPathMax)
		}
		return "unix:" + full, f
	}
	if strings.HasPrefix(address, "/") {
		return "", faultf("write unix:"+address, "%q is not an address", address)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", faultf(`write "127.0.0.1:3344" or "unix:/path"`, "%q is not an address", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", faultf("from 0 to 65535; 0 takes any free one", "%q: port %q", address, port)
	} else if strconv.FormatUint(n, 10) != port {
		return "", faultf("", "%q: port %q", address, port)
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
func (b *builder) checkOpenToAll(c Config) {
	if len(c.Tokens) > 0 || c.TokensFile != "" || b.bad["tokens_file"] {
		return
	}
	for _, address := range c.Listen {
		if !Loopback(address) {
			b.reject("listen", "set tokens_file, or listen on 127.0.0.1", "%q can be reached from other machines, and there are no tokens", address)
		}
	}
	if slices.Contains(c.AllowedOrigins, "null") {
		b.reject("allowed_origins", "set tokens_file, or leave it out", "%q is what any web page's sandboxed frame sends, and there are no tokens", "null")
	}
}

func (b *builder) hosts(key string) []string {
	var out []string
	for _, h := range value[[]string](b.layers, key) {
		if f := checkHost(h); f != nil {
			b.reject(key, f.hint, "%s", f.message)
			continue
		}
		out = append(out, h)
	}
	return out
}

// origins takes what browsers and desktop apps write into Origin.
func (b *builder) origins(key string) []string {
	var out []string
	for _, o := range value[[]string](b.layers, key) {
		if f := checkOrigin(o); f != nil {
			b.reject(key, f.hint, "%s", f.message)
			continue
		}
		out = append(out, o)
	}
	return out
}

func checkOrigin(o string) *fault {
	if o == "null" {
		return nil
	}
	scheme, host, ok := strings.Cut(o, "://")
	web := scheme == "http" || scheme == "https"
	switch {
	case o == "*" || web && strings.Contains(host, "*"):
		return faultf("write each origin: whoever makes a page could use the agents otherwise", "%q is every web page", o)
	case !ok || o != strings.ToLower(o) || !regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`).MatchString(scheme),
		!regexp.MustCompile(`^(\*|[a-z0-9._-]*|\[[0-9a-f:.]+\])(:[0-9]+)?$`).MatchString(host), web && host == "":
		return faultf(`write "https://chat.example.net", "app://obsidian.md", "vscode-webview://*" or "null"`, "%q is not an origin", o)
	}
	return nil
}

func (b *builder) hostName(key string) string {
	h := value[string](b.layers, key)
	if f := checkHost(h); f != nil && !b.bad[key] {
		b.reject(key, f.hint, "%s", f.message)
	}
	return h
}

// checkHost takes a bare name or address: no scheme, no port, no path.
func checkHost(h string) *fault {
	if ip, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil && ip.IsValid() {
		return nil
	}
	if h == "" || len(h) > 253 || strings.Trim(h, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
		return faultf("a bare name, without scheme and port", "%q is not a host name", h)
	}
	return nil
}
