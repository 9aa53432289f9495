package web

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"penstock/config"
)

func TestOriginCheck(t *testing.T) {
	g := NewOriginCheck(config.Config{Listen: []string{"127.0.0.1:3344", "agents.lan:80", "unix:/run/x:1"}, AllowedHosts: []string{"box.example", "Other.Example:443"},
		AllowedOrigins: []string{"app://obsidian.md", "vscode-webview://*", "https://chat.example:8443", "null"}})
	for _, row := range []struct {
		method, host, origin, contentType, body string
		unix                                    bool
		want                                    int // 0 is let through
	}{
		{"GET", "localhost:3344", "", "", "", false, 0},
		{"GET", "LOCALHOST", "", "", "", false, 0},
		{"GET", "127.0.0.1:3344", "", "", "", false, 0},
		{"GET", "127.9.9.9", "", "", "", false, 0},
		{"GET", "[::1]:3344", "", "", "", false, 0},
		{"GET", "10.1.2.3:3344", "", "", "", false, 0}, // the address connected to
		{"GET", "10.1.2.4:3344", "", "", "", false, 403},
		{"GET", "agents.lan", "", "", "", false, 0},
		{"GET", "box.example:9", "", "", "", false, 0},
		{"GET", "other.example", "", "", "", false, 0},
		{"GET", "evil.example:3344", "", "", "", false, 403},
		{"GET", "localhost.evil.example", "", "", "", false, 403},
		{"GET", "127.0.0.1.evil.example", "", "", "", false, 403},
		{"GET", "", "", "", "", false, 403},
		{"GET", "evil.example", "", "", "", true, 0},
		{"GET", "localhost:3344", "http://localhost:3344", "", "", false, 0},
		{"GET", "localhost:3344", "http://localhost:8080", "", "", false, 403},
		{"GET", "localhost:3344", "http://evil.example", "", "", false, 403},
		{"GET", "localhost:3344", "null", "", "", false, 0},
		{"GET", "localhost:3344", "app://obsidian.md", "", "", false, 0},
		{"GET", "localhost:3344", "app://other.md", "", "", false, 403},
		{"GET", "localhost:3344", "app://obsidian.md.evil", "", "", false, 403},
		{"GET", "localhost:3344", "vscode-webview://1ab2-c3", "", "", false, 0},
		{"GET", "localhost:3344", "vscode-webview-x://1ab2", "", "", false, 403},
		{"GET", "localhost:3344", "https://chat.example:8443", "", "", false, 0},
		{"GET", "localhost:3344", "https://chat.example", "", "", false, 403},
		{"GET", "evil.example", "app://obsidian.md", "", "", false, 403},
		{"GET", "box.example", "https://box.example:8443", "", "", false, 0}, // a proxy dropped the port
		{"GET", "box.example", "https://other.example:8443", "", "", false, 403},
		{"GET", "box.example:80", "https://box.example:8443", "", "", false, 403},
		{"GET", "[::1]", "http://[::1]:8080", "", "", false, 0},
		{"GET", "localhost:3344", "file://", "", "", false, 403},
		{"POST", "localhost", "", "application/json", "{}", false, 0},
		{"POST", "localhost", "", "application/json; charset=utf-8", "{}", false, 0},
		{"POST", "localhost", "", "Application/JSON", "{}", false, 0},
		{"POST", "localhost", "", "application/json; charset=latin1", "{}", false, 415},
		{"POST", "localhost", "", "text/plain", "{}", false, 415},
		{"POST", "localhost", "", "application/x-www-form-urlencoded", "a=b", false, 415},
		{"POST", "localhost", "", "text/plain; application/json", "{}", false, 415},
		{"POST", "localhost", "", "", "{}", false, 415},
		{"POST", "localhost", "", "", "{}", true, 415},
		{"POST", "localhost", "", "", "", false, 0},
	} {
		r := httptest.NewRequest(row.method, "http://x/", strings.NewReader(row.body))
		r.Host = row.host
		if row.origin != "" {
			r.Header.Set("Origin", row.origin)
		}
		if row.contentType != "" {
			r.Header.Set("Content-Type", row.contentType)
		}
		p := peer{unix: row.unix, local: netip.MustParseAddr("10.1.2.3")}
		err := g.check(r.WithContext(context.WithValue(r.Context(), peerKey, p)))
		var e *Error
		got := 0
		if errors.As(err, &e) {
			got = e.Status
		}
		if got != row.want {
			t.Errorf("%+v: %d (%v)", row, got, err)
		}
	}
}

// Where Host has no port a browser's word on how it relates to Origin counts.
func TestSameOrigin_FetchMetadata(t *testing.T) {
	for relation, want := range map[string]bool{"same-origin": true, "same-site": false, "cross-site": false, "none": false} {
		r := httptest.NewRequest("GET", "http://box.example/", nil)
		r.Header.Set("Origin", "https://box.example:8443")
		r.Header.Set("Sec-Fetch-Site", relation)
		if got := sameOrigin(r); got != want {
			t.Errorf("%s: %v", relation, got)
		}
	}
}
