package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/config"
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
	if err := d.chat(web.NewReply(w), web.WithInfo(r, x)); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || x.Err != nil || len(got.Choices) != 1 || len(got.Choices[0].Message.Content) != 50000*len("word\n") {
		t.Errorf("%d bytes of an answer: %v, %v", w.Body.Len(), err, x.Err)
	}
}
