package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is what a service manager hears from the daemon.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	// Not below TempDir: a socket's path is short.
	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t: t, conn: conn}
}

// hears waits for a message, past those that are none of its business.
func (m *manager) hears(want string) {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	var heard []string
	for expression := regexp.MustCompile("^(?s:" + want + ")$"); ; {
		buf := make([]byte, 4096)
		n, err := m.conn.Read(buf)
		if err != nil {
			m.t.Fatalf("%v: wanted %q, heard %q", err, want, heard)
		}
		heard = append(heard, string(buf[:n]))
		if expression.Match(buf[:n]) {
			return
		}
		if !strings.HasPrefix(string(buf[:n]), "STATUS=") {
			m.t.Fatalf("wanted %q, heard %q", want, heard)
		}
	}
}

func TestServe_Notify(t *testing.T) {
	m := newManager(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(config, []byte("listen = \"127.0.0.1:0\"\nstate_dir = \""+dir+"/state\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, config)
	m.hears(`READY=1\nSTATUS=serving on http://127\.0\.0\.1:\d+`)
	m.hears(`STATUS=ok: 0 running, 0 waiting`)
	s.signal(t, syscall.SIGHUP)
	m.hears(`RELOADING=1\nMONOTONIC_USEC=\d+`)
	m.hears(`READY=1`)
	s.log.waitFor(t, "nothing changed")
	s.signal(t, syscall.SIGTERM)
	m.hears(`STOPPING=1\nSTATUS=draining`)
	s.wantEnd(t, 30*time.Second)
}
