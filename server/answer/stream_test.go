package answer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

// The wire, byte for byte.
func TestStream_Golden(t *testing.T) {
	t.Run("owned", func(t *testing.T) { testGolden(t, false) })
	t.Run("resumable", func(t *testing.T) { testGolden(t, true) })
}

func testGolden(t *testing.T, resumable bool) {
	rec := httptest.NewRecorder()
	record := run.Record{ID: "run_1", Model: "claude/opus", Created: time.Unix(1700000000, 0)}
	s := NewStream(web.NewReply(rec), openai.Chat{}, &dialect.Answer{Run: record.ID, Model: record.Model, Created: record.Created, After: -1}, resumable)
	if err := s.queued(3); err != nil {
		t.Fatal(err)
	}
	if err := s.to.Begin(); err != nil {
		t.Fatal(err)
	}
	reasoned := int64(2)
	for _, e := range []backend.Event{
		{Seq: 1, Kind: backend.Session, Session: "s"},
		{Seq: 2, Kind: backend.Reasoning, Text: "hm"},
		{Seq: 3, Kind: backend.Text, Text: "a <b> & \"c\"\n\u2028"},
		{Seq: 4, Kind: backend.ToolUse, Tool: &backend.Tool{ID: "t", Name: "Bash", Status: "started", Input: "{}"}},
		{Seq: 5, Kind: backend.Notice, Text: "retry\nnow"},
		{Seq: 6, Kind: backend.UsageReport, Usage: &backend.Usage{PromptTokens: number(3), CompletionTokens: number(4), ReasoningTokens: &reasoned}},
		{Seq: 7, Kind: backend.Done, Finish: "stop"},
	} {
		if ok, err := s.event(e); !ok || err != nil {
			t.Fatal(e, ok, err)
		}
	}
	if err := s.Fail(&web.RequestInfo{}, runFailed(outcome.Verdict{Cause: outcome.Killed, Message: "killed by signal 9"}, record)); err != nil {
		t.Fatal(err)
	}
	const frame = `{"id":"chatcmpl-run_1","object":"chat.completion.chunk","created":1700000000,"model":"claude/opus","choices":[{"index":0,"delta":`
	id, comment := func(int) string { return "\n" }, func(text string) string { return ": " + text + "\n\n" }
	if resumable {
		id, comment = func(n int) string { return fmt.Sprintf("id: %d\n\n", n) }, func(text string) string { return ": " + text + "\n" }
	}
	want := comment("queued position=3") +
		"data: " + frame + `{"role":"assistant","content":""},"finish_reason":null}]}` + "\n" + id(0) +
		"data: " + frame + `{"reasoning_content":"hm"},"finish_reason":null}]}` + "\n" + id(2) +
		"data: " + frame + `{"content":"a <b> & \"c\"\n\u2028"},"finish_reason":null}]}` + "\n" + id(3) +
		"data: " + frame + `{"x_tool":{"id":"t","name":"Bash","status":"started","input":"{}"}},"finish_reason":null}]}` + "\n" + id(4) +
		comment("notice: retry now") +
		`data: {"error":{"message":"killed by signal 9","type":"run_error","code":"killed","param":null,"run_id":"run_1","x_cause":"killed"}}` + "\n\n" +
		"data: [DONE]\n\n"
	if diff := cmp.Diff(want, rec.Body.String()); diff != "" {
		t.Errorf("stream (-want +got)\n%s", diff)
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform"} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !rec.Flushed {
		t.Error("nothing was flushed")
	}
}

// A client that comes back gets what follows, and the same words again if not.
func TestStream_Resumes(t *testing.T) {
	rec := httptest.NewRecorder()
	s := NewStream(web.NewReply(rec), openai.Chat{}, &dialect.Answer{After: 2, Created: time.Unix(0, 0)}, true)
	if err := s.to.Begin(); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"one", "two", "three"} {
		if ok, err := s.event(backend.Event{Seq: uint64(i + 1), Kind: backend.Text, Text: text}); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if err := s.send(); err != nil {
		t.Fatal(err)
	}
	want := `data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":0,"model":"","choices":[{"index":0,"delta":{"content":"three"},"finish_reason":null}]}` + "\nid: 3\n\n"
	if diff := cmp.Diff(want, rec.Body.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func number(n int64) *int64 { return &n }

// While it waits a stream is never silent for long, and tells each new place.
func TestStream_Await(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		s := NewStream(web.NewReply(rec), openai.Chat{}, &dialect.Answer{After: -1}, false)
		started := make(chan struct{})
		var mu sync.Mutex
		place, changed := 0, make(chan struct{})
		position := func() (int, <-chan struct{}) {
			mu.Lock()
			defer mu.Unlock()
			return place, changed
		}
		setPosition := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			close(changed)
			place, changed = n, make(chan struct{})
		}
		time.AfterFunc(time.Second, func() { setPosition(2) })
		time.AfterFunc(2*time.Second, func() { setPosition(1) })
		time.AfterFunc(2*pingEvery+time.Second, func() { close(started) })
		if err := s.Await(context.Background(), started, position); err != nil {
			t.Fatal(err)
		}
		if got, want := rec.Body.String(), ": accepted\n\n: queued position=2\n\n: queued position=1\n\n: ping\n\n: ping\n\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A stream that stops in the middle of an event doesn't end as if it were whole; one whose reader
// left is no failure of ours.
func TestStream_BrokenOff(t *testing.T) {
	unread := errors.New("it can't be read")
	var x web.RequestInfo
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(over)
		s := NewStream(web.NewReply(w), openai.Chat{}, &dialect.Answer{After: -1}, false)
		if err := s.Open("accepted"); err != nil {
			t.Error(err)
		}
		if err := s.brokenOff(t.Context(), &x, unread); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	reply, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	<-over
	if !errors.Is(err, io.ErrUnexpectedEOF) || x.Cause != "internal_error" {
		t.Errorf("%q %v, cause %q", text, err, x.Cause)
	}

	s := NewStream(web.NewReply(deadReply{}), openai.Chat{}, &dialect.Answer{After: -1}, false)
	x = web.RequestInfo{}
	if err := s.Open("accepted"); err == nil {
		t.Fatal("written")
	}
	if err := s.brokenOff(t.Context(), &x, unread); !errors.Is(err, unread) || x.Cause != "" {
		t.Errorf("%v, cause %q", err, x.Cause)
	}
}

// deadReply is one that can't be written.
type deadReply struct{}

func (deadReply) Header() http.Header       { return http.Header{} }
func (deadReply) WriteHeader(int)           {}
func (deadReply) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
