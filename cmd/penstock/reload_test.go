package main

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/config"
	"penstock/image"
)

func TestReload_TokensAndLogLevel(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := "listen = \"127.0.0.1:0\"\nstate_dir = \"DIR/state\"\ntokens_file = \"DIR/tokens\"\n"
	write("c.toml", base)
	write("tokens", "alice:first-token\n")
	s := startServe(t, filepath.Join(dir, "c.toml"))
	models := func(token string) int {
		r, err := http.NewRequest("GET", s.url+"/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close() // only the status matters
		return reply.StatusCode
	}
	if a, b := models("first-token"), models("second-token"); a != 200 || b != 401 {
		t.Fatalf("before: %d and %d", a, b)
	}

	write("tokens", "not a token\n")
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, "configuration not taken")
	if a := models("first-token"); a != 200 {
		t.Errorf("a bad tokens file shuts out alice: %d", a)
	}

	write("tokens", "alice:second-token\n")
	write("c.toml", base+"drain_timeout = \"3s\"\n[log]\nlevel = \"debug\"\n")
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, `"taken":["log.level","tokens"]`)
	s.log.waitFor(t, `"changed":["drain_timeout"]`)
	late := time.Now().Add(20 * time.Second)
	for models("second-token") != 200 && time.Now().Before(late) {
		time.Sleep(10 * time.Millisecond)
	}
	if a, b := models("first-token"), models("second-token"); a != 401 || b != 200 {
		t.Errorf("after: %d with the old token, %d with the new one", a, b)
	}
	s.signal(t, syscall.SIGTERM)
	s.wantEnd(t, 30*time.Second)
}

// Images that the backends of the start can't have are not in force, for the next daemon in
// this process either.
func TestReload_ImagesThatDontFit(t *testing.T) {
	root := t.TempDir()
	r := &reloader{
		log: slog.New(slog.DiscardHandler), images: make(chan []image.Source, 1),
		running: config.Config{
			StateDir: t.TempDir(), Images: map[string]config.Image{"a": {Rootfs: root, Home: "/home/agent"}},
			Backends: map[string]config.Backend{"box": {Image: "a", Limits: config.Limits{MemoryMax: config.Size{Bytes: 1 << 30}}}},
		},
	}
	for home, fits := range map[string]bool{"": false, "/home/other": true} {
		next := r.running
		next.Images = map[string]config.Image{"a": {Rootfs: root, Home: home}}
		if !fits {
			next.Images = nil
		}
		r.apply(next, nil, r.checkImages(next))
		sent := len(r.images) == 1
		if sent {
			<-r.images
		}
		if sent != fits || (r.running.Images["a"].Home == home) != fits {
			t.Errorf("home %q: sent %v, in force %+v", home, sent, r.running.Images)
		}
	}
}

// A file that never comes keeps the daemon from nothing but this reload.
func TestReload_Hangs(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	config := filepath.Join(dir, "c.toml")
	text := "listen = \"127.0.0.1:0\"\nstate_dir = \"" + dir + "/state\"\n"
	put := func(make func() error) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(config), make()); err != nil {
			t.Fatal(err)
		}
	}
	file := func(text string) func() error {
		return func() error { return os.WriteFile(config, []byte(text), 0o600) }
	}
	fifo := func() error { return syscall.Mkfifo(config, 0o600) }
	put(file(text))
	s := startServe(t, config)
	put(fifo)
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, "configuration not read yet")
	for range 8 {
		s.signal(t, syscall.SIGHUP)
	}
	s.log.waitFor(t, "still being read")
	reply, err := http.Get(s.url + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close() // only that it answers matters
	// It comes after all, is old by then, and what lies there now is taken.
	late, err := os.OpenFile(config, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(file(text + "[log]\nlevel = \"debug\"\n"))
	_, err = late.WriteString("nonsense")
	if err = errors.Join(err, late.Close()); err != nil {
		t.Fatal(err)
	}
	s.log.waitFor(t, `"taken":["log.level"]`)
	if strings.Contains(s.log.String(), "not taken") {
		t.Errorf("what is old was looked at:\n%s", s.log)
	}
	put(fifo)
	s.signal(t, syscall.SIGHUP)
	s.signal(t, syscall.SIGTERM)
	s.wantEnd(t, 30*time.Second)
}

func TestBanner_Token(t *testing.T) {
	addrs := []net.Addr{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3344}}
	const header = "-H 'Authorization: Bearer TOKEN'"
	if got := firstCall(addrs, true); !strings.Contains(got, header) {
		t.Errorf("no token in %q", got)
	}
	if got := firstCall(addrs, false); strings.Contains(got, header) || !strings.Contains(got, "curl -N http://127.0.0.1:3344/") {
		t.Errorf("first call %q", got)
	}
}
