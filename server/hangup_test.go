package server

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/config"
	"penstock/server/web"
)

// dialed sends text over a connection of its own.
func dialed(t *testing.T, network, address, text string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// posted is a chat request as it goes over the wire, with more after it.
func posted(body, more string) string {
	return fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s%s", len(body), body, more)
}

// A client that leaves is seen to, whatever it has sent after its request: its
// run is ended, and one that waits is never started.
func TestHangup(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	marks := filepath.Join(dir, "mark-")
	s := serve(t, func(c *config.Config) {
		c.Listen = append(c.Listen, "unix:"+socket)
		c.Budget.MaxRuns = 1
	})
	running := func() (ids []string) {
		var list struct{ Data []struct{ ID, Cause string } }
		if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs?state=live", "").body), &list); err != nil {
			t.Fatal(err)
		}
		for _, r := range list.Data {
			ids = append(ids, r.ID)
		}
		return ids
	}
	ways := map[string]func(net.Conn) error{
		"closes":      net.Conn.Close,
		"half closes": func(c net.Conn) error { return c.(interface{ CloseWrite() error }).CloseWrite() },
	}
	for _, at := range [][2]string{{"tcp", strings.TrimPrefix(s.url, "http://")}, {"unix", socket}} {
		for what, more := range map[string]string{
			"nothing": "", "a line break": "\r\n", "a byte": "x", "a request": "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
		} {
			for way, leave := range ways {
				t.Run(at[0]+" "+what+" "+way, func(t *testing.T) {
					first := dialed(t, at[0], at[1], posted(chatBody("sh", "sleep 60", true, ""), more))
					eventually(t, "it runs", func() bool { return s.healthNow().Children.Runs == 1 })
					mark := marks + strings.ReplaceAll(t.Name(), "/", "-")
					second := dialed(t, at[0], at[1], posted(chatBody("sh", "touch '"+mark+"'", true, ""), more))
					eventually(t, "one waits", func() bool { return s.healthNow().Queue.Waiting == 1 })
					if err := leave(second); err != nil {
						t.Fatal(err)
					}
					eventually(t, "nobody waits", func() bool { return s.healthNow().Queue.Waiting == 0 })
					eventually(t, "the first runs alone", func() bool { return len(running()) == 1 })
					if err := leave(first); err != nil {
						t.Fatal(err)
					}
					eventually(t, "nothing runs", func() bool { return len(running()) == 0 && s.healthNow().Queue.Running == 0 })
					if found, _ := filepath.Glob(mark); found != nil {
						t.Error("a run was started for a client that had left the queue")
					}
				})
			}
		}
	}
}

// Who sends a request and not its body gets its answer where the body is of no
// interest, and is not waited for.
func TestBodyNeverComes(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Tokens = []config.Token{{Name: "bot", SHA256: sha256.Sum256([]byte("secret"))}}
	})
	type asked struct {
		what   string
		status int
		conn   net.Conn
	}
	var all []asked
	for request, status := range map[string]int{
		"GET /health": 200, "GET /livez": 200, "GET /openapi.json": 200, "GET /nowhere": 401,
		"POST /v1/chat/completions": 401, "POST /translate": 401, "POST /v1/runs/x/cancel": 401,
	} {
		for _, length := range []string{"Content-Length: 100", "Content-Length: 7000000", "Transfer-Encoding: chunked"} {
			c := dialed(t, "tcp", strings.TrimPrefix(s.url, "http://"),
				request+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+length+"\r\n\r\n")
			all = append(all, asked{request + ", " + length, status, c})
		}
	}
	for _, a := range all {
		_ = a.conn.SetDeadline(time.Now().Add(patience))
		resp, err := http.ReadResponse(bufio.NewReader(a.conn), nil)
		if err != nil {
			t.Fatalf("%s: no answer: %v", a.what, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != a.status || !resp.Close {
			t.Errorf("%s: %v, status %d, want %d, and the connection to be closed", a.what, err, resp.StatusCode, a.status)
		}
		if n, err := a.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection stays: %d %v", a.what, n, err)
		}
	}
}

// A client that asks before it sends is not asked for what is refused anyway.
func TestTooLargeIsNotAskedFor(t *testing.T) {
	s := serve(t, nil)
	c := dialed(t, "tcp", strings.TrimPrefix(s.url, "http://"), fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"+
		"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", web.BodyMax+1))
	_ = c.SetDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("status %d, connection to be closed: %v", resp.StatusCode, resp.Close)
	}
}
