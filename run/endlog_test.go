package run

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/outcome"
)

// What the record says of a run's end is in the log too, with the receipt and
// what held its limits.
func TestConclude_LogsTheEnd(t *testing.T) {
	var lines lockedLines
	m := open(t, func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s := script("echo 'd stop'; exit 0")
	s.ID = "run_logged"
	r := start(t, m, s)
	verdict(t, r, outcome.Completed)
	var got struct {
		Msg, Run, Client, Cause string
		Exit                    *int `json:"exit_code"`
		Receipt                 map[string]any
	}
	if !lines.find(`"msg":"run ended"`, &got) {
		t.Fatalf("no line of its end")
	}
	record := r.Record()
	text, err := json.Marshal(record.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Receipt); diff != "" {
		t.Errorf("receipt (-record +log):\n%s", diff)
	}
	if got.Run != "run_logged" || got.Client != "tester" || got.Cause != "completed" || want["enforced_by"] == nil {
		t.Errorf("%+v", got)
	}
}

// lockedLines is a log to look into.
type lockedLines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lockedLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lockedLines) find(part string, into any) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.text) {
		if bytes.Contains(line, []byte(part)) {
			return json.Unmarshal(line, into) == nil
		}
	}
	return false
}
