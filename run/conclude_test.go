package run

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
)

func TestConclude_Verdicts(t *testing.T) {
	m := open(t)
	tests := []struct {
		name, script string
		change       func(*Spec)
		want         outcome.Cause
		says         string
	}{
		{"failed by its own word", "echo 'f quota'; exit 0", nil, outcome.ProviderError, "quota"},
		{"exit status", "seq 1000 >&2; echo last words >&2; exit 3", nil, outcome.CLIError, "last words"},
		{"no last word", "echo 't half'", nil, outcome.CLIError, ""},
		{"done and then lingering", "echo 'd stop'; sleep 300", nil, outcome.Completed, ""},
		{"killed from outside", "kill -9 $$", nil, outcome.Killed, ""},
		{"over-long line", "head -c 3000 /dev/zero | tr '\\0' x; sleep 300", func(s *Spec) { s.LineMax = 2000 }, outcome.OutputLimit, ""},
		{"output cap", "while :; do echo 't xxxxxxxxxxxxxxxxxxxx'; done", func(s *Spec) { s.OutputMax = 100 << 10 }, outcome.OutputLimit, ""},
		{"output cap by stderr", "while :; do echo xxxxxxxxxxxxxxxxxxxx >&2; done", func(s *Spec) { s.OutputMax = 100 << 10 }, outcome.OutputLimit, ""},
		{"output cap and gone at once", "head -c 300000 /dev/zero; echo 'd stop'", func(s *Spec) { s.OutputMax = 1000 }, outcome.OutputLimit, ""},
		{"deadline", "echo 't a'; sleep 300", func(s *Spec) { s.Deadline = time.Now().Add(300 * time.Millisecond) }, outcome.Timeout, ""},
		{"stalled", "echo 't a'; sleep 300", func(s *Spec) { s.Stall = 1500 * time.Millisecond }, outcome.Stalled, ""},
		{"program of words", "echo hello you", func(s *Spec) { s.Backend = agent{framing: backend.Words} }, outcome.Completed, ""},
		{"program of words that fails", "echo hello; exit 2", func(s *Spec) { s.Backend = agent{framing: backend.Words} }, outcome.CLIError, "2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := script(test.script)
			if test.change != nil {
				test.change(&s)
			}
			gone := counted(t, &s)
			r := start(t, m, s)
			if v := verdict(t, r, test.want); !strings.Contains(v.Message, test.says) {
				t.Errorf("message %q does not say %q", v.Message, test.says)
			}
			events(t, r.Follow(0))
			wait(t, "removal", r.done)
			if gone.Load() != 1 {
				t.Errorf("OnGone came %d times", gone.Load())
			}
		})
	}
}

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

// A run that ends well while the daemon is asked to end, and the service manager
// doesn't say whether it ends the runs, too, may have said half of its answer.
func TestConclude_ServiceManagerThatDoesNotAnswer(t *testing.T) {
	stop, asked := context.WithCancel(t.Context())
	defer asked()
	m := open(t, func(o *Options) {
		o.Stop, o.stopping = stop, func() (bool, error) { return false, context.DeadlineExceeded }
	})
	verdict(t, start(t, m, script("echo 'd stop'")), outcome.Completed)
	asked()
	verdict(t, start(t, m, script("echo 'd stop'")), outcome.ShuttingDown)
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

func TestWithin(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	if within(time.Millisecond, func() { <-stuck }) || !within(time.Minute, func() {}) {
		t.Error("the wrong answer")
	}
}
