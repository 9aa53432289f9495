package answer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

// A long reply that is not streamed stays alive, still parses, and a failure
// in it can't be taken for an answer.
func TestWhole_Padding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		const padAfter = 20 * time.Second
		p := NewWhole(web.NewReply(rec), openai.Chat{}, &dialect.Answer{Run: "run_1", Model: "m"}, padAfter)
		ended := make(chan struct{})
		time.AfterFunc(padAfter+2*padEvery+time.Second, func() { close(ended) })
		if err := p.Wait(context.Background(), ended); err != nil {
			t.Fatal(err)
		}
		if h := rec.Header(); rec.Body.String() != "   " || !rec.Flushed || h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store, no-transform" {
			t.Errorf("%q %v", rec.Body.String(), rec.Header())
		}
		x := &web.RequestInfo{}
		record := recordOf("run_1")
		if err := p.Fail(x, record.Created, runFailed(outcome.Verdict{Cause: outcome.Timeout, Message: "too long"}, record)); err != nil {
			t.Fatal(err)
		}
		var c openai.Completion
		if err := json.Unmarshal(rec.Body.Bytes(), &c); err != nil || rec.Code != 200 || c.Error == nil || c.Error.Code != "timeout" || len(c.Choices) != 1 || *c.Choices[0].Finish != "error" {
			t.Errorf("%d %s %v", rec.Code, rec.Body, err)
		}
	})
}

func TestWhole_NoPadding(t *testing.T) {
	t.Run("short", func(t *testing.T) { testNoPadding(t, time.Minute, time.Minute-time.Second) })
	t.Run("never", func(t *testing.T) { testNoPadding(t, 0, 24*time.Hour) })
}

func testNoPadding(t *testing.T, padAfter, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		p := NewWhole(web.NewReply(rec), openai.Chat{}, &dialect.Answer{Run: "run_1", Model: "m"}, padAfter)
		ended := make(chan struct{})
		time.AfterFunc(took, func() { close(ended) })
		if err := p.Wait(context.Background(), ended); err != nil || p.w.Begun() {
			t.Errorf("%v, begun %v", err, p.w.Begun())
		}
		failure := errors.New("x")
		if err := p.Fail(&web.RequestInfo{}, time.Time{}, failure); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	})
}

// An answer that breaks off can't be taken for a whole one.
func TestAbortAnswer(t *testing.T) {
	for name, row := range map[string]struct {
		read, cause error
		want        string
	}{
		"spool not readable": {os.ErrPermission, os.ErrPermission, "internal_error"},
		"client left":        {context.Canceled, context.Canceled, "client_gone"},
		"client stuck":       {nil, os.ErrDeadlineExceeded, "client_gone"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &web.RequestInfo{}
			ended := make(chan error, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				w := web.NewReply(rw)
				_, err := io.WriteString(w, strings.Repeat(" ", 10000)+`{"half":"`)
				abortAnswer(w, x, row.read, row.cause)
				ended <- err
			}))
			defer srv.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes, then %v", len(body), err)
			}
			if err := <-ended; err != nil || x.Cause != row.want {
				t.Errorf("cause %q, want %q: %v", x.Cause, row.want, err)
			}
		})
	}
}

func recordOf(id string) run.Record {
	return run.Record{ID: id, Model: "m", Created: time.Unix(1, 0)}
}
