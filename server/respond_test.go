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
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/config"
	"penstock/server/answer"
	"penstock/server/openai"
	"penstock/server/web"
)

// Text the CLI takes back: the same again is not sent twice, anything else
// ends the stream; a whole reply has only what is valid.
func TestChat_Voided(t *testing.T) {
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
func TestChat_EventKinds(t *testing.T) {
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

// A client that stops reading has not left: its run comes to its end, no other
// waits for it, and it can read on.
func TestRespondStream_StuckReader(t *testing.T) {
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
func TestRespond_WaitsForReader(t *testing.T) {
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
func TestRespondWhole_PaddedFailure(t *testing.T) {
	rec := httptest.NewRecorder()
	j := newJob("first", "c", true)
	j.model = "demo"
	synctest.Test(t, func(t *testing.T) {
		p := answer.NewWhole(web.NewReply(rec), openai.Chat{}, j.answer(-1), time.Second)
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

func TestSessions(t *testing.T) {
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

// A reader of a live run's events is told when it has all there are so far.
func TestRunEvents_CaughtUp(t *testing.T) {
	s := serve(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "echo so far; exec sleep 300", true, ""), "X-Run-Id", "live")
	if err != nil {
		t.Fatal(err)
	}
	defer run.Body.Close()
	said := bufio.NewScanner(run.Body)
	for said.Scan() && !strings.Contains(said.Text(), "far") {
	}
	events, err := s.do(ctx, "GET", "/v1/runs/live/events", "")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	var seen []string
	for lines := bufio.NewScanner(events.Body); !slices.Contains(seen, ": caught up") && lines.Scan(); {
		seen = append(seen, lines.Text())
	}
	if text := strings.Join(seen, "\n"); !strings.HasSuffix(text, ": caught up") || !strings.Contains(text, `far`) {
		t.Errorf("events of a live run:\n%s", text)
	}
	if r := s.ask("POST", "/v1/runs/live/cancel", ""); r.status != 202 {
		t.Errorf("cancel: %d", r.status)
	}
	s.ask("GET", "/v1/runs/live/events", "") // to the end
	if r := s.ask("GET", "/v1/runs/live/events", ""); slices.Contains(r.comments, "caught up") || r.code() != "cancelled" {
		t.Errorf("events of an ended run: %+v", r)
	}
}

// The whole reply has the same facts as the stream.
func TestRespondWhole_SameFactsAsStream(t *testing.T) {
	s := serve(t, nil)
	script := `yes '{"text":"word \"é\" and a line of text that goes on and on\n"}' | head -n 3000; cat <<'END'
{"reasoning":"so "}
{"tool":{"id":"t1","name":"Bash","status":"completed","output":"<ok>"}}
{"reasoning":"be it"}
{"text":"end"}
{"usage":{"prompt_tokens":3,"completion_tokens":4,"cost_usd":0.5}}
{"done":true}
END`
	streamed := s.chat("lines", script, true, `,"stream_options":{"include_usage":true},"metadata":{"k":"v"}`)
	var reasoning, tools strings.Builder
	for _, c := range streamed.chunks {
		for _, ch := range c.Choices {
			reasoning.WriteString(ch.Delta.Reasoning)
			if ch.Delta.Tool != nil {
				fmt.Fprint(&tools, *ch.Delta.Tool)
			}
		}
	}
	r := s.chat("lines", script, false, `,"metadata":{"k":"v"}`)
	if r.status != 200 || len(r.chunks) != 1 || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", r.status, r.header, web.Clip(r.body, 300))
	}
	if len(r.text) < 3000*40 || r.text != streamed.text || r.finish != streamed.finish {
		t.Errorf("text of %d bytes, finish %q; streamed %d, %q", len(r.text), r.finish, len(streamed.text), streamed.finish)
	}
	c, account := r.chunks[0], streamed.chunks[len(streamed.chunks)-1]
	m := c.Choices[0].Message
	if reasoning.Len() == 0 || m.Reasoning != reasoning.String() || len(m.Tools) != 1 || fmt.Sprint(m.Tools[0]) != tools.String() {
		t.Errorf("reasoning %q tools %v; streamed %q %s", m.Reasoning, m.Tools, reasoning.String(), tools.String())
	}
	if diff := cmp.Diff(account.Usage, c.Usage); diff != "" || c.Usage == nil {
		t.Errorf("usage %v\n%s", c.Usage, diff)
	}
	if diff := cmp.Diff(account.Cost, c.Cost); diff != "" || c.Cost == nil {
		t.Errorf("cost %v\n%s", c.Cost, diff)
	}
	if c.Receipt == nil || c.Receipt.EnforcedBy.Kill != account.Receipt.EnforcedBy.Kill || string(c.Metadata) != `{"k":"v"}` {
		t.Errorf("receipt %+v metadata %s", c.Receipt, c.Metadata)
	}
}

func TestRespondWhole_Voided(t *testing.T) {
	s := serve(t, nil)
	r := s.chat("lines", `echo '{"text":"keep this, not that"}'; echo '{"void":9}'; echo '{"text":"!"}'; echo '{"done":true}'`, false, "")
	if r.text != "keep this!" || r.finish != "stop" {
		t.Errorf("%+v", r)
	}
}

// onLine calls when for each line of that message, before it is logged.
type onLine struct {
	slog.Handler
	message string
	when    func()
}

func (h onLine) Enabled(context.Context, slog.Level) bool { return true }

func (h onLine) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h onLine) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == h.message {
		h.when()
	}
	return h.Handler.Handle(ctx, r)
}

// An answer is read when its run has ended, which may be pruned in that moment.
func TestRespondWhole_PrunedAtItsEnd(t *testing.T) {
	var runs string
	var removed error
	s := serve(t, func(c *config.Config) { runs = filepath.Join(c.StateDir, "runs") }, func(o *Options) {
		o.Logger = slog.New(onLine{o.Logger.Handler(), "run ended", func() { removed = os.RemoveAll(runs) }})
	})
	if r := s.chat("upper", "hello", false, ""); r.text != "HELLO" || removed != nil {
		t.Errorf("%+v, %v", r, removed)
	}
	if left, err := os.ReadDir(runs); err == nil && len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
}
