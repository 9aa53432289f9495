package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/config"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
)

type noRuns struct{}

func (noRuns) known(string) bool          { return false }
func (noRuns) ended(string) (*job, error) { return nil, nil }
func (noRuns) pruned(*job) bool           { return false }

// A handover ends no run between its slot and its start.
func TestQuiesce_LetsStartsFinish(t *testing.T) {
	d := &daemon{jobs: newJobs(), config: config.Config{DrainTimeout: config.Duration{Duration: time.Hour}}}
	d.waiting, d.endWaiting = context.WithCancel(t.Context())
	j := newJob("starting", "c", true)
	j.cancel = func(error) { t.Error("it was ended") }
	if _, err := d.jobs.claim(j, noRuns{}); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-d.waiting.Done()
		j.begin(nil, errors.New("not born after all"))
		close(j.gone)
	}()
	if !d.quiesce(t.Context()) {
		t.Error("it was not waited for")
	}
}

// handingOver is a client whose answer is on its way when the handover begins.
type handingOver struct {
	*httptest.ResponseRecorder
	begin func()
}

func (w handingOver) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseRecorder.Write(p)
}

func TestHandover_LetsAnswersEnd(t *testing.T) {
	d, err := open(t.Context(), testConfig(t), Options{Logger: slog.New(slog.DiscardHandler), Log: func() LogState { return LogState{} }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	r := httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(chatBody("sh", "yes word | head -n 50000", false, "")))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Run-Id", "whole")
	w := handingOver{httptest.NewRecorder(), func() { d.endReading(errHandedOver) }}
	x := &web.RequestInfo{Client: web.Anonymous}
	if err := d.ask("chat")(web.NewReply(w), web.WithInfo(r, x)); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || x.Err != nil || len(got.Choices) != 1 || len(got.Choices[0].Message.Content) != 50000*len("word\n") {
		t.Errorf("%d bytes of an answer: %v, %v", w.Body.Len(), err, x.Err)
	}
}

// held is a log handler that stops at one message until it is let go.
type held struct {
	slog.Handler
	message    string
	there, let chan struct{}
}

func (h held) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == h.message {
		close(h.there)
		<-h.let
	}
	return h.Handler.Handle(ctx, r)
}

func (held) Enabled(context.Context, slog.Level) bool { return true }

func (h held) WithAttrs([]slog.Attr) slog.Handler { return h }

// A durable run that is just ending is one of the requests that a daemon restores: the
// same request then attaches to it, though its record says already that it has ended.
func TestRestoreJobs_JustEnding(t *testing.T) {
	h := held{slog.DiscardHandler, "run ended", make(chan struct{}), make(chan struct{})}
	d, err := open(t.Context(), testConfig(t), Options{Logger: slog.New(h), Log: func() LogState { return LogState{} }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	q, err := openai.DecodeChat([]byte(chatBody("sh", "echo word", false, "")), http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := d.prepare(t.Context(), &web.RequestInfo{Client: "c"}, q, newJob("ending", "c", true), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.runs.Start(t.Context(), spec) // as an earlier daemon's: no request of this one has started it
	if err != nil {
		t.Fatal(err)
	}
	<-h.there
	d.restoreJobs()
	if _, known := d.jobs.get("ending"); !known || r.Record().State != run.Finished {
		t.Errorf("known: %v, state %s", known, r.Record().State)
	}
	close(h.let)
	<-r.Ended()
}
