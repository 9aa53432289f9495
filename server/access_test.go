package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// One line for each request, with all that an operator asks for, and nothing of
// what was said.
func TestAccessLog(t *testing.T) {
	s := serve(t, nil)
	const secret = "the-prompt-says"
	for _, row := range []struct {
		name, method, path, body string
		header                   []string
		want                     map[string]any // nil: not in the line; "*": there
	}{
		{"a run", "POST", "/v1/chat/completions", chatBody("upper", secret, false, ""), nil, map[string]any{
			"level": "INFO", "method": "POST", "route": "/v1/chat/completions", "status": 200.0, "client": "anonymous", "bytes": "*", "seconds": "*",
			"run_id": "*", "backend": "upper", "model": "upper", "queue_seconds": "*", "run_seconds": "*", "exit_code": 0.0, "cause": "completed", "receipt": "*",
			"code": nil, "error": nil,
		}},
		{"a stream", "POST", "/v1/chat/completions", chatBody("sh", "echo "+secret+"; exit 3", true, ""), nil, map[string]any{
			"status": "*", "cause": "cli_error", "exit_code": 3.0, "receipt": "*", "error": nil,
		}},
		{"refused", "POST", "/v1/chat/completions", chatBody("upper", secret, false, `,"n":2`), nil, map[string]any{
			"level": "INFO", "status": 400.0, "code": "invalid_request", "param": "n", "error": "*", "run_id": nil, "cause": nil, "receipt": nil,
		}},
		{"no such run", "GET", "/v1/runs/run_none", "", nil, map[string]any{
			"route": "/v1/runs/{id}", "path": "/v1/runs/run_none", "status": 404.0, "code": "run_not_found", "error": `no run "run_none"`, "run_id": nil,
		}},
		{"long path", "GET", "/" + strings.Repeat("x", 5000), "", nil, map[string]any{"route": "unmatched", "code": "not_found"}},
		{"not started", "POST", "/v1/chat/completions", chatBody("absent", secret, false, ""), nil, map[string]any{
			"level": "WARN", "status": 503.0, "code": "cli_missing", "error": "*", "run_id": nil,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			id := fmt.Sprint("req-", strings.ReplaceAll(row.name, " ", "-"))
			s.ask(row.method, row.path, row.body, append(row.header, "X-Request-Id", id)...)
			line := s.log.of(t, id)
			if len(line) > 4000 || bytes.Contains(line, []byte(secret)) {
				t.Errorf("%s", line)
			}
			var got map[string]any
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatal(err)
			}
			for name, want := range row.want {
				if value, found := got[name]; found != (want != nil) || (want != "*" && value != want) {
					t.Errorf("%s is %v, want %v: %s", name, value, want, line)
				}
			}
		})
	}
}

// An error of a request that left no record names no run.
func TestNotStarted_NamesNoRun(t *testing.T) {
	s := serve(t, nil)
	for _, model := range []string{"absent", "unknown"} {
		r := s.chat(model, "x", false, "", "X-Run-Id", "mine")
		if r.err == nil || r.err.RunID != "" {
			t.Errorf("%s: %s", model, r.body)
		}
		if r := s.ask("GET", "/v1/runs/mine", ""); r.status != 404 {
			t.Errorf("%s: there is a record: %s", model, r.body)
		}
	}
}

// logLines is a log to look into.
type logLines struct {
	mu   sync.Mutex
	text []byte
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logLines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text, []byte(text))
}

// of waits for the line of a request, which comes after its reply; it must be
// the only one.
func (l *logLines) of(t *testing.T, requestID string) (found []byte) {
	t.Helper()
	eventually(t, "the line of "+requestID, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		n := 0
		for line := range bytes.Lines(l.text) {
			if bytes.Contains(line, []byte(`"request_id":"`+requestID+`"`)) {
				found = bytes.Clone(line)
				n++
			}
		}
		if n > 1 {
			t.Errorf("%d lines", n)
		}
		return n > 0
	})
	return found
}
