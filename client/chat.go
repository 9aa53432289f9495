package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Ask is one prompt for a model; what is empty is left to the daemon.
type Ask struct {
	Model, Prompt string
	Session, Cwd  string
	Effort        string
	Timeout       time.Duration // in the queue and running
	Limits        map[string]string
	RunID         string // makes the run durable
}

// Chat starts a run, or attaches to the one of Ask.RunID, and streams it from
// its beginning. A durable run is attached to again after a cut.
func (c *Client) Chat(ctx context.Context, a Ask) (*Stream, error) {
	body := map[string]any{
		"model": a.Model, "stream": true, "stream_options": map[string]bool{"include_usage": true},
		"messages": []map[string]string{{"role": "user", "content": a.Prompt}},
	}
	for name, value := range map[string]string{"session_id": a.Session, "cwd": a.Cwd, "effort": a.Effort} {
		if value != "" {
			body[name] = value
		}
	}
	if a.Timeout > 0 {
		body["timeout_ms"] = max(1, a.Timeout.Milliseconds())
	}
	if len(a.Limits) > 0 {
		body["limits"] = limits(a.Limits)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", a.Model, err)
	}
	q := request{method: http.MethodPost, path: "/v1/chat/completions", body: text}
	if a.RunID != "" {
		q.header = http.Header{"X-Run-Id": {a.RunID}}
	}
	return c.open(ctx, q, -1, a.RunID != "")
}

// limits gives numbers as numbers: the API takes pids_max as nothing else.
func limits(given map[string]string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for name, value := range given {
		if _, err := strconv.ParseInt(value, 10, 64); err == nil {
			out[name] = json.RawMessage(value)
			continue
		}
		quoted, _ := json.Marshal(value) // a string never fails
		out[name] = quoted
	}
	return out
}

// Events streams a run's events with a number over after, -1 for all.
func (c *Client) Events(ctx context.Context, id string, after int64) (*Stream, error) {
	return c.open(ctx, request{method: http.MethodGet, path: runPath(id) + "/events"}, after, true)
}
