package server

import (
	"crypto/sha256"
	"net/http"
	"testing"

	"penstock/config"
)

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
