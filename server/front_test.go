package server

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
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

	"github.com/klauspost/compress/zstd"

	"penstock/config"
	"penstock/server/web"
)

func TestTokens_Renewed(t *testing.T) {
	token := func(name, secret string) config.Token {
		return config.Token{Name: name, SHA256: sha256.Sum256([]byte(secret))}
	}
	c := testConfig(t)
	c.Tokens = []config.Token{token("alice", "old")}
	ctx, stop := context.WithCancel(context.Background())
	s := &served{t: t, stop: stop, err: make(chan error, 1)}
	ready, renewed := make(chan net.Addr, 1), make(chan []config.Token)
	go func() {
		s.err <- Run(ctx, c, Options{Ready: func(a []net.Addr) { ready <- a[0] }, Tokens: renewed})
	}()
	select {
	case a := <-ready:
		s.url = "http://" + a.String()
	case err := <-s.err:
		stop()
		if strings.Contains(err.Error(), "no cgroup v2 tree") {
			t.Skipf("this machine has no cgroup v2 tree to make groups in: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	models := func(secret string) int {
		return s.ask("GET", "/v1/models", "", "Authorization", "Bearer "+secret).status
	}
	if a, b := models("old"), models("new"); a != 200 || b != 401 {
		t.Fatalf("before: %d with the old token, %d with the new one", a, b)
	}
	renewed <- []config.Token{token("alice", "new"), token("bob", "bob's")}
	eventually(t, "the new token is taken", func() bool { return models("new") == 200 })
	if a, b := models("old"), models("bob's"); a != 401 || b != 200 {
		t.Errorf("after: %d with the old token, %d with bob's", a, b)
	}
	if r := s.ask("GET", "/metrics", "", "Authorization", "Bearer bob's"); !strings.Contains(r.body, `penstock_queue_waiting{client="bob"} 0`) {
		t.Error("metrics don't know bob")
	}
	renewed <- nil
	// Received once it takes another one.
	renewed <- []config.Token{token("eve", "eve's")}
	eventually(t, "eve's token is taken", func() bool { return models("eve's") == 200 })
	if r := s.ask("GET", "/v1/models", ""); r.status != 401 {
		t.Errorf("without a token: %d", r.status)
	}
}

// An app of an allowed origin may ask before it sends, without a token, and read
// what it is told; any other gets no word of it.
func TestCORS(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.AllowedOrigins = []string{"app://obsidian.md"}
		c.Tokens = []config.Token{{Name: "app", SHA256: sha256.Sum256([]byte("a"))}}
	})
	const askedHeaders = "anthropic-beta,anthropic-dangerous-direct-browser-access,anthropic-version,authorization,openai-organization,x-api-key,x-stainless-os"
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
			r.Header.Set("Access-Control-Request-Headers", askedHeaders)
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
		if row.status == 204 && (h.Get("Access-Control-Allow-Headers") != askedHeaders || h.Get("Access-Control-Allow-Methods") == "") {
			t.Errorf("%+v: %v", row, h)
		}
	}
	if h := serve(t, nil).ask("GET", "/v1/models", "").header; h.Get("Vary") != "" || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("nothing is allowed: %v", h)
	}
}

// oneSegment is text as a zstd frame (RFC 8878) whose window is all of it.
func oneSegment(t *testing.T, text string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(z.EncodeAll([]byte(text), nil))
}

// A body comes as it is or compressed, under one limit.
func TestBody_Codings(t *testing.T) {
	s := serve(t, nil)
	packed := func(text string, open func(io.Writer) io.WriteCloser) string {
		var out bytes.Buffer
		w := open(&out)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	zipped := func(text string) string {
		return packed(text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	}
	zstandard := func(text string, o ...zstd.EOption) string {
		return packed(text, func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w, o...)
			if err != nil {
				t.Fatal(err)
			}
			return z
		})
	}
	body := chatBody("upper", "word", false, "")
	spaces := strings.Repeat(" ", web.BodyMax-len(body))
	bomb := zipped(body + strings.Repeat(" ", web.BodyMax))
	if len(bomb) > 64<<10 {
		t.Fatalf("a bomb of %d bytes", len(bomb))
	}
	for _, row := range []struct {
		name, coding, kind, body string
		status                   int
	}{
		{"gzip", "gzip", "", zipped(body), 200},
		{"upper case", "GZIP", "", zipped(body), 200},
		{"x-gzip", "x-gzip", "", zipped(body), 200},
		{"zlib", "deflate", "", packed(body, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), 200},
		{"bare deflate", "deflate", "", packed(body, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f }), 200},
		{"identity", "identity", "", body, 200},
		{"as large as can be", "gzip", "", zipped(body + spaces), 200},
		{"bomb", "gzip", "", bomb, 413},
		{"bomb that is no JSON", "deflate", "", packed(strings.Repeat("\x00", 4*web.BodyMax), func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), 413},
		{"cut off", "gzip", "", zipped(body)[:20], 400},
		{"only a head", "gzip", "", "\x1f\x8b", 400},
		{"not gzip", "gzip", "", body, 400},
		{"not deflate", "deflate", "", "\xff\xff\xff\xff", 400},
		{"wrong sum", "gzip", "", zipped(body)[:len(zipped(body))-8] + "12345678", 400},
		{"zstd", "zstd", "", zstandard(body), 200},
		{"zstd without a sum", "Zstd", "", zstandard(body, zstd.WithEncoderCRC(false)), 200},
		{"zstd in two frames", "zstd", "", zstandard(body[:9]) + zstandard(body[9:]), 200},
		{"zstd in one segment", "zstd", "", oneSegment(t, body), 200},
		{"zstd as large as can be", "zstd", "", zstandard(body + spaces), 200},
		{"zstd with the largest window", "zstd", "", zstandard(body+spaces, zstd.WithWindowSize(8<<20)), 200},
		{"zstd with a larger one", "zstd", "", zstandard(body+spaces, zstd.WithWindowSize(16<<20)), 400},
		{"zstd bomb", "zstd", "", zstandard(body + spaces + " "), 413},
		{"zstd bomb in one segment", "zstd", "", oneSegment(t, body+spaces+" "), 413},
		{"zstd bomb that is no JSON", "zstd", "", zstandard(strings.Repeat("\x00", 4*web.BodyMax)), 413},
		{"zstd cut off", "zstd", "", zstandard(body)[:20], 400},
		{"zstd of nothing", "zstd", "", "", 400},
		{"only a zstd head", "zstd", "", "(\xb5/\xfd", 400},
		{"not zstd", "zstd", "", body, 400},
		{"zstd and more", "zstd", "", zstandard(body) + "xxxxxxxx", 400},
		{"wrong zstd sum", "zstd", "", zstandard(body)[:len(zstandard(body))-4] + "1234", 400},
		{"zstd with a dictionary", "zstd", "", "(\xb5/\xfd\x21\x07\x02\x11\x00\x00{}", 400},
		{"brotli", "br", "", "x", 415},
		{"two codings", "gzip, gzip", "", zipped(zipped(body)), 415},
		{"byte order mark", "", "", "\ufeff" + body, 200},
		{"two of them", "", "", "\ufeff\ufeff" + body, 400},
		{"charset utf8", "", "application/json; charset=utf8", body, 200},
		{"charset quoted", "", `application/json;charset="UTF-8"`, body, 200},
		{"charset other", "", "application/json; charset=utf-16", body, 415},
	} {
		t.Run(row.name, func(t *testing.T) {
			header := []string{"Content-Encoding", row.coding}
			if row.coding == "" {
				header = nil
			}
			if row.kind != "" {
				header = append(header, "Content-Type", row.kind)
			}
			r := s.ask("POST", "/v1/chat/completions", row.body, header...)
			if r.status != row.status || (row.status == 200) != (r.text == "WORD") {
				t.Errorf("%d %q %s, want %d", r.status, r.text, web.Clip(r.body, 300), row.status)
			}
			if row.status == 415 && row.coding != "" && (r.header.Get("Accept-Encoding") != "gzip, deflate, zstd" || r.err == nil || !strings.Contains(r.err.Message, "gzip")) {
				t.Errorf("%v %s", r.header, r.body)
			}
		})
	}
	if r := s.ask("POST", "/translate", zipped(`{"url":"http://localhost:1","to":"sidecar"}`), "Content-Encoding", "gzip"); r.status != 200 {
		t.Errorf("translate: %+v", r)
	}
}

// dialed sends text over a connection of its own.
func dialed(t *testing.T, network, address, text string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	send(t, c, text)
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// posted is a chat request as it goes over the wire.
func posted(body string) string {
	return fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// A client that leaves is seen to, whatever it has sent after its request: its
// run is ended, and one that waits is never started. What comes with the request is in
// net/http's buffer and hides nothing; what comes by itself would.
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
					first := dialed(t, at[0], at[1], posted(chatBody("sh", "sleep 60", true, "")))
					eventually(t, "it runs", func() bool { return s.healthNow().Children.Runs == 1 })
					send(t, first, more)
					mark := marks + strings.ReplaceAll(t.Name(), "/", "-")
					second := dialed(t, at[0], at[1], posted(chatBody("sh", "touch '"+mark+"'", true, "")))
					eventually(t, "one waits", func() bool { return s.healthNow().Queue.Waiting == 1 })
					send(t, second, more)
					if err := leave(second); err != nil {
						t.Fatal(err)
					}
					eventually(t, "none waits", func() bool { return s.healthNow().Queue.Waiting == 0 })
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

// A client that sends a request and not its body gets its answer where that is of no
// interest, and is not waited for.
func TestBody_NeverComes(t *testing.T) {
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
func TestBody_TooLargeIsNotAskedFor(t *testing.T) {
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

// A request that runs, is refused, attaches or is wrong holds nothing any more.
func TestIntake_GivenBack(t *testing.T) {
	d := opened(t)
	h := d.handler()
	large := strings.Repeat("#", 3<<20) + "\necho x"
	for _, body := range []string{
		chatBody("sh", large, false, ""), chatBody("sh", large, true, ""), chatBody("nosuch", large, false, ""),
		chatBody("sh", large, false, `,"n":2`), chatBody("sh", large, false, "")[:3<<20], chatBody("sh", large, false, `,"x":"`+strings.Repeat("y", web.BodyMax)+`"`),
	} {
		for range 2 {
			h.ServeHTTP(newRecorder(), asked("POST", "/v1/chat/completions", body))
			h.ServeHTTP(newRecorder(), asked("POST", "/translate", body))
		}
	}
	eventually(t, "all is given back", d.intake.Idle)
}
