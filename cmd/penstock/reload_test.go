package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHangUpTakesTokensAndLogLevel(t *testing.T) {
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

func TestFirstCallNeedsItsToken(t *testing.T) {
	addrs := []net.Addr{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3344}}
	const header = "-H 'Authorization: Bearer TOKEN'"
	if got := firstCall(addrs, true); !strings.Contains(got, header) {
		t.Errorf("no token in %q", got)
	}
	if got := firstCall(addrs, false); strings.Contains(got, header) || !strings.Contains(got, "curl -N http://127.0.0.1:3344/") {
		t.Errorf("first call %q", got)
	}
}
