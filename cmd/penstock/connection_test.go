package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "penstock.toml")
	text := "listen = [\"unix:/run/p\", \"0.0.0.0:4000\", \"[::]:4000\", \":4001\", \"127.0.0.1:0\", \"box:4002\"]\ntokens_file = \"/unreadable\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PENSTOCK_URL", "http://env")
	t.Setenv("PENSTOCK_LISTEN", "")
	os.Unsetenv("PENSTOCK_LISTEN") // Setenv brings it back
	for _, row := range []struct {
		url, file string
		want      []string
	}{
		{"http://flag", "", []string{"http://flag"}},
		{"", "", []string{"http://env"}},
		{"", file, []string{"unix:/run/p", "http://127.0.0.1:4000", "http://[::1]:4000", "http://127.0.0.1:4001", "http://box:4002"}},
	} {
		conn := &connection{url: row.url, settings: &settings{file: row.file}}
		if got, err := conn.addresses(); err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%q %q: %q, %v", row.url, row.file, got, err)
		}
	}
	conn := &connection{settings: &settings{file: file + ".not"}}
	if _, err := conn.addresses(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a configuration that isn't there: %v", err)
	}
}

// The first address that answers is taken, and shown the token of the file.
func TestConnect(t *testing.T) {
	var shown string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		_, _ = w.Write([]byte("{}"))
	}))
	defer s.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"token": "secret\n", "two": "name:a\nname:b\n", "none": "\n",
		"penstock.toml": `listen = ["unix:` + dir + `/unused", "` + strings.TrimPrefix(s.URL, "http://") + `"]`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PENSTOCK_TOKEN", "weaker")
	conn := &connection{settings: &settings{file: filepath.Join(dir, "penstock.toml")}, tokenFile: filepath.Join(dir, "token")}
	c, err := conn.connect(t.Context())
	if err != nil || c.Address() != s.URL {
		t.Fatalf("%v", err)
	}
	if _, err := c.Models(t.Context()); err != nil || shown != "Bearer secret" {
		t.Errorf("%q, %v", shown, err)
	}
	for _, bad := range []string{"two", "none", "absent"} {
		conn.tokenFile = filepath.Join(dir, bad)
		if _, err := conn.connect(t.Context()); err == nil || strings.Contains(err.Error(), "name:a") {
			t.Errorf("token file %s: %v", bad, err)
		}
	}
}
