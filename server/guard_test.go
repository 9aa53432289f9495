package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"penstock/config"
)

func TestGuard(t *testing.T) {
	g := newOriginCheck(config.Config{Listen: []string{"127.0.0.1:3344", "agents.lan:80", "unix:/run/x:1"}, AllowedHosts: []string{"box.example", "Other.Example:443"},
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
		var e *httpError
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
func TestGuardAsksTheBrowser(t *testing.T) {
	for relation, want := range map[string]bool{"same-origin": true, "same-site": false, "cross-site": false, "none": false} {
		r := httptest.NewRequest("GET", "http://box.example/", nil)
		r.Header.Set("Origin", "https://box.example:8443")
		r.Header.Set("Sec-Fetch-Site", relation)
		if got := sameOrigin(r); got != want {
			t.Errorf("%s: %v", relation, got)
		}
	}
}

// An app of an allowed origin may ask before it sends, without a token, and read
// what it is told; any other gets no word of it.
func TestAllowedOrigins(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.AllowedOrigins = []string{"app://obsidian.md"}
		c.Tokens = []config.Token{{Name: "app", SHA256: sha256.Sum256([]byte("a"))}}
	})
	ask := func(method, origin, token string, ask bool) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.url+"/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		if ask {
			r.Header.Set("Access-Control-Request-Method", "GET")
			r.Header.Set("Access-Control-Request-Headers", "authorization,x-stainless-os")
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	for _, row := range []struct {
		method, origin, token string
		ask                   bool
		status                int
		shared                bool
	}{
		{"OPTIONS", "app://obsidian.md", "", true, 204, true},
		{"OPTIONS", "https://evil.example", "", true, 403, false},
		{"OPTIONS", "null", "", true, 403, false},
		{"OPTIONS", "app://obsidian.md", "", false, 401, true}, // asks for nothing
		{"GET", "app://obsidian.md", "a", false, 200, true},
		{"GET", "app://obsidian.md", "", false, 401, true},
		{"GET", "https://evil.example", "a", false, 403, false},
	} {
		resp := ask(row.method, row.origin, row.token, row.ask)
		h := resp.Header
		shared := h.Get("Access-Control-Allow-Origin") == row.origin && h.Get("Vary") == "Origin"
		if resp.StatusCode != row.status || shared != row.shared || !row.shared && h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%+v: %d %v", row, resp.StatusCode, h)
		}
		if row.status == 204 && (h.Get("Access-Control-Allow-Headers") != "authorization,x-stainless-os" || h.Get("Access-Control-Allow-Methods") == "") {
			t.Errorf("%+v: %v", row, h)
		}
	}
	if h := serve(t, nil).ask("GET", "/v1/models", "").header; h.Get("Vary") != "" || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("nothing is allowed: %v", h)
	}
}

func TestIdentify(t *testing.T) {
	tokens := []config.Token{{Name: "bot", SHA256: sha256.Sum256([]byte("secret-1"))}, {Name: "ide", SHA256: sha256.Sum256([]byte("secret-2"))}}
	root, user := peer{unix: true, known: true}, peer{unix: true, known: true, uid: 4242}
	for _, row := range []struct {
		name, header string
		tokens       []config.Token
		peer         peer
		client       string
		operator     bool
	}{
		{"first", "Bearer secret-1", tokens, peer{}, "bot", false},
		{"second", "bearer  secret-2", tokens, peer{}, "ide", false},
		{"wrong", "Bearer secret-3", tokens, peer{}, "", false},
		{"prefix", "Bearer secret-", tokens, peer{}, "", false},
		{"none", "", tokens, peer{}, "", false},
		{"basic", "Basic secret-1", tokens, peer{}, "", false},
		{"nothing configured", "", nil, peer{}, "anonymous", true},
		{"nothing configured, any key", "Bearer sk-whatever", nil, peer{}, "anonymous", true},
		{"unix", "", tokens, user, "uid:4242", false},
		{"unix root", "Bearer sk-whatever", tokens, root, "uid:0", true},
		{"unix with token", "Bearer secret-1", tokens, user, "bot", false},
		{"unix without credentials", "", tokens, peer{unix: true}, "", false},
	} {
		r := httptest.NewRequest("GET", "/v1/runs", nil)
		if row.header != "" {
			r.Header.Set("Authorization", row.header)
		}
		client, operator, err := identify(r.WithContext(context.WithValue(r.Context(), peerKey, row.peer)), row.tokens)
		if client != row.client || operator != row.operator || (err != nil) != (row.client == "") {
			t.Errorf("%s: %q %v %v, want %q %v", row.name, client, operator, err, row.client, row.operator)
		}
	}
}
