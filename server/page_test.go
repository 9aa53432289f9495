package server

import (
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"penstock/config"
)

// The page is there before anybody has entered a token, and nothing else is.
func TestPageNeedsNoTokenAndTellsNothing(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Tokens = []config.Token{{Name: "bot", SHA256: sha256.Sum256([]byte("s3cret"))}}
	})
	page := s.ask("GET", "/ui", "")
	if page.status != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", page.status, page.header)
	}
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(page.body, "<script>") || strings.Contains(page.body, "style=") {
		t.Error("inline script or style")
	}
	if r := s.ask("GET", "/v1/runs", ""); r.status != 401 {
		t.Errorf("the runs without a token: %d", r.status)
	}
	if r := s.ask("GET", "/ui", "", "Host", "evil.example"); r.status != 403 {
		t.Errorf("a foreign host: %d", r.status)
	}
	for _, path := range []string{"/ui/ui.go", "/ui/nope.js", "/ui/.", "/ui/..", "/ui/%2e%2e", "/ui/..%2fui.go"} {
		if r := s.ask("GET", path, ""); r.status != 404 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
}

var loaded = regexp.MustCompile(`(?:src|href)="ui/([^"]+)"|from "\./([^"]+)"`)

// Whatever the page loads is served, and comes from here.
func TestPageLoadsItsOwnFilesOnly(t *testing.T) {
	s := serve(t, nil)
	todo, seen := []string{"/ui"}, map[string]bool{}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		r := s.ask("GET", path, "")
		if r.status != 200 || r.body == "" {
			t.Errorf("%s: %d", path, r.status)
		}
		for _, m := range loaded.FindAllStringSubmatch(r.body, -1) {
			todo = append(todo, "/ui/"+m[1]+m[2])
		}
		text := strings.ReplaceAll(r.body, "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http://", "https://", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
	}
	if len(seen) < 5 {
		t.Errorf("loads only %v", seen)
	}
}
