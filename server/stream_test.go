package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/config"
	"penstock/server/answer"
	"penstock/server/openai"
	"penstock/server/web"
)

// Text the CLI takes back: the same again is not sent twice, anything else
// ends the stream; a whole reply has only what is valid.
func TestVoid(t *testing.T) {
	s := serve(t, nil)
	lines := func(l ...string) string { return "printf '%s\\n' '" + strings.Join(l, "' '") + "'" }
	for _, row := range []struct {
		name, script, streamed, whole, code string
	}{
		{"the same again", lines(`{"text":"hello "}`, `{"void":0}`, `{"text":"hello "}`, `{"text":"you"}`, `{"done":true}`), "hello you", "hello you", ""},
		{"other words", lines(`{"text":"hello "}`, `{"void":0}`, `{"text":"good day"}`, `{"done":true}`) + "; sleep 300", "hello ", "good day", "text_voided"},
		{"fewer words", lines(`{"text":"hello you"}`, `{"void":5}`, `{"done":true}`), "hello you", "hello", "text_voided"},
		{"a failure is told as such", lines(`{"text":"hello"}`, `{"void":0}`, `{"error":"broken"}`), "hello", "", "cli_error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := s.chat("lines", row.script, true, "")
			if r.text != row.streamed || r.code() != row.code || !r.done || (row.code == "") != (r.finish == "stop") {
				t.Errorf("stream %+v", r)
			}
			r = s.chat("lines", strings.ReplaceAll(row.script, "; sleep 300", ""), false, "")
			if r.text != row.whole || (r.finish == "stop") != (r.status == 200) {
				t.Errorf("whole %+v", r)
			}
		})
	}
}

// Reasoning, tools and notices over the wire.
func TestStreamKinds(t *testing.T) {
	s := serve(t, nil)
	script := `printf '%s\n' '{"reasoning":"hm"}' '{"tool":{"name":"sh","status":"completed","id":"1","output":"ok"}}' '{"notice":"retrying"}' '{"text":"a"}' '{"done":"length"}'`
	r := s.chat("lines", script, true, "")
	for _, want := range []string{`"reasoning_content":"hm"`, `"x_tool":{"id":"1","name":"sh"`, ": notice: retrying"} {
		if !strings.Contains(r.body, want) {
			t.Errorf("stream lacks %s: %s", want, r.body)
		}
	}
	if r.finish != "length" {
		t.Errorf("finish %q", r.finish)
	}
	if r := s.chat("lines", script, false, ""); !strings.Contains(r.body, `"x_tool":[{"id":"1"`) || !strings.Contains(r.body, `"reasoning_content":"hm"`) {
		t.Errorf("whole %s", r.body)
	}
}

// A client that stops reading has not left: its run comes to its end, nobody
// else waits for it, and it can read on.
func TestStuckReader(t *testing.T) {
	s := serve(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	body := chatBody("sh", "head -c 3000000 /dev/zero | tr '\\0' y; echo done", true, "")
	fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Run-Id: stuck\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	// The CLI is not slowed by its reader: it comes to its end.
	eventually(t, "the run is over", func() bool {
		return strings.Contains(s.ask("GET", "/v1/runs/stuck", "").body, `"cause":"completed"`)
	})
	if r := s.chat("upper", "x", true, ""); r.text != "X" {
		t.Errorf("beside it: %+v", r)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := read(resp, nil); err != nil || !r.done || r.finish != "stop" || len(r.text) != 3000000+len("done\n") {
		t.Errorf("read on: %v, done %v, finish %q, %d bytes", err, r.done, r.finish, len(r.text))
	}
}

// deadlines are those that a reply sets for its writes.
type deadlines struct {
	*httptest.ResponseRecorder
	mu  sync.Mutex
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = append(d.set, t)
	return nil
}

// A run's answer waits for its reader as long as the connection lives; no other
// reply does.
func TestAnswersWaitForTheirReader(t *testing.T) {
	d := opened(t)
	h := d.handler()
	serve := func(method, path, body string) (*deadlines, time.Time) {
		w := newRecorder()
		r := asked(method, path, body)
		r.Header.Set("X-Run-Id", "waits-"+strconv.Itoa(len(body)))
		h.ServeHTTP(w, r)
		if len(w.set) == 0 {
			return w, time.Time{}
		}
		return w, w.set[len(w.set)-1]
	}
	script := "for i in 1 2 3; do echo $i; done"
	for _, row := range []struct{ method, path, body string }{
		{"POST", "/v1/chat/completions", chatBody("sh", script, true, "")},
		{"POST", "/v1/chat/completions", chatBody("sh", script, false, "")},
		{"GET", "/v1/runs/waits-" + strconv.Itoa(len(chatBody("sh", script, false, ""))) + "/events", ""},
	} {
		if w, last := serve(row.method, row.path, row.body); w.Code != 200 || len(w.set) == 0 || !last.IsZero() {
			t.Errorf("%s %s: status %d, its last write deadline is %v of %v", row.method, row.path, w.Code, last, w.set)
		}
	}
	for _, path := range []string{"/health", "/openapi.json", "/v1/models", "/v1/runs", "/nowhere"} {
		if w, last := serve("GET", path, ""); last.IsZero() {
			t.Errorf("GET %s: status %d, no write deadline: a reader that stalls holds a connection for ever", path, w.Code)
		}
	}
}

func newRecorder() *deadlines { return &deadlines{ResponseRecorder: httptest.NewRecorder()} }

// asked is a request from nowhere.
func asked(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	return r
}

// opened is a daemon without listeners.
func opened(t *testing.T) *daemon {
	t.Helper()
	d, err := open(t.Context(), testConfig(t), Options{Logger: slog.New(slog.DiscardHandler), Log: func() LogState { return LogState{} }})
	if err != nil && strings.Contains(err.Error(), "no cgroup v2 tree") {
		t.Skipf("this machine has no cgroup v2 tree to make groups in: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// A padded reply says what was asked for, also where no run came of it.
func TestPaddedFailureNamesItsModel(t *testing.T) {
	rec := httptest.NewRecorder()
	j := newJob("first", "c", true)
	j.model = "demo"
	synctest.Test(t, func(t *testing.T) {
		p := answer.NewWhole(web.NewReply(rec), time.Second)
		defer p.Stop()
		padded := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(padded) })
		if err := errors.Join(p.Wait(t.Context(), padded), noAnswer(t.Context(), p, &web.RequestInfo{}, j, reattachError(j.id))); err != nil {
			t.Fatal(err)
		}
	})
	var c openai.Completion
	if err := json.Unmarshal(rec.Body.Bytes(), &c); err != nil || c.ID != "chatcmpl-first" || c.Model != "demo" || c.Created != j.created.Unix() {
		t.Errorf("%s %v", rec.Body, err)
	}
}

func TestSessionsRoute(t *testing.T) {
	s := serve(t, func(c *config.Config) {})
	script := `printf '%s\n' '{"session":"cli-1"}' '{"text":"a"}' '{"done":true}'`
	if r := s.chat("lines", script, false, `,"session_id":"talk"`); r.status != 200 {
		t.Fatalf("%+v", r)
	}
	if r := s.ask("GET", "/v1/sessions", ""); !strings.Contains(r.body, `"talk"`) || !strings.Contains(r.body, "cli-1") {
		t.Errorf("%+v", r)
	}
	if r := s.ask("DELETE", "/v1/sessions/talk", ""); r.status != 200 {
		t.Errorf("%+v", r)
	}
	if r := s.ask("DELETE", "/v1/sessions/talk", ""); r.status != 404 {
		t.Errorf("%+v", r)
	}
}
