// Package proxies runs the settings of docs/reverse-proxy.md with the proxies
// themselves, on loopback, in front of a daemon.
package proxies

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
)

const (
	host  = "agents.example.net"
	token = "for-the-proxies"
	// silence is longer than nginx waits for a byte by default.
	silence = "/sleep 75s"
)

// settings are ways to configure a proxy: that of the page, and what people have
// instead.
type settings struct {
	name, program string
	start         func(t *testing.T, site, upstream string) *exec.Cmd
	change        func(page string) string
	noPage        bool // the live page can't be used
}

func TestProxies(t *testing.T) {
	same := func(s string) string { return s }
	bare := func(s string) string {
		var kept []string
		for line := range strings.Lines(s) {
			if !strings.Contains(line, "proxy_") || strings.Contains(line, "proxy_pass") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	for _, s := range []settings{
		{"nginx", "nginx", nginx, same, false},
		{"nginx that drops the port", "nginx", nginx, func(s string) string { return strings.ReplaceAll(s, "$http_host", "$host") }, false},
		{"nginx that compresses", "nginx", nginx, func(s string) string {
			return strings.Replace(s, "location", "gzip on; gzip_proxied any; gzip_types *; gzip_min_length 1;\nlocation", 1)
		}, false},
		{"nginx with HTTP 1.0 and its own Host", "nginx", nginx, bare, true},
		{"caddy", "caddy", caddy, same, false},
		{"caddy that compresses", "caddy", caddy, func(s string) string { return strings.Replace(s, "{\n", "{\n\tencode gzip\n", 1) }, false},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(s.program); err != nil {
				t.Skipf("this machine has no %s: apt-get install %s", s.program, s.program)
			}
			begin(t, s).try(t, s)
		})
	}
}

// proxied is a daemon behind a proxy.
type proxied struct {
	daemon *daemon.Daemon
	url    string // with the proxy's port
	client *http.Client
}

func begin(t *testing.T, s settings) *proxied {
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, []byte("proxied:"+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, daemon.Options{Config: fmt.Sprintf("tokens_file = %q\nallowed_hosts = [%q]\n[limits]\nmemory_max = \"128MiB\"\n", tokens, host)})
	address := freeAddress(t)
	program := s.start(t, s.change(block(t, s.program)), strings.TrimPrefix(d.URL, "http://")+" "+address)
	var said bytes.Buffer
	program.Stdout, program.Stderr = &said, &said
	program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = program.Wait() }()
	t.Cleanup(func() {
		_ = program.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = program.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said: %s", s.program, said.String())
		}
	})
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxied{daemon: d, url: "https://" + host + ":" + port, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // its certificate was made a moment ago
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}}
	if err := daemon.Eventually(30*time.Second, func() error {
		status, _, err := p.ask(t.Context(), "GET", "/health", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	}); err != nil {
		t.Fatalf("%s: %v", s.program, err)
	}
	return p
}

// block is the settings of the page for one program.
func block(t *testing.T, program string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(daemon.Top(t), "docs", "reverse-proxy.md"))
	if err != nil {
		t.Fatal(err)
	}
	language := map[string]string{"nginx": "nginx", "caddy": "caddyfile"}[program]
	_, after, ok := strings.Cut(string(page), "```"+language+"\n")
	text, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatalf("docs/reverse-proxy.md has no block of %s", language)
	}
	return text
}

func (p *proxied) request(ctx context.Context, method, path string, body any, header ...string) (*http.Request, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r, nil
}

func (p *proxied) ask(ctx context.Context, method, path string, body any, header ...string) (int, []byte, error) {
	r, err := p.request(ctx, method, path, body, header...)
	if err != nil {
		return 0, nil, err
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
