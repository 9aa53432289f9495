package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/config"
	"penstock/server/web"
)

// codex tries a WebSocket first, and posts at once if that is a 426, however its wish comes through.
func TestWebSocket(t *testing.T) {
	s := serve(t, nil)
	const path = "/v1/responses"
	for _, header := range [][]string{
		{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
		{"Connection", "upgrade", "Upgrade", "WebSocket"},
		{"Connection", "Upgrade", "Upgrade", "h2c, WEBSOCKET"},
		{"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}, // what nginx leaves of it
	} {
		r := s.ask("GET", path, "", header...)
		if r.status != 426 || r.code() != "upgrade_required" || !strings.Contains(r.err.Message, "POST "+path) || r.header.Get("Upgrade") != "HTTP/1.1" {
			t.Errorf("%v: %d %s %v", header, r.status, r.body, r.header)
		}
	}
	for _, row := range [][]string{
		{"GET", path}, {"GET", path, "Upgrade", "h2c"}, {"HEAD", path, "Upgrade", "websocket"}, {"PATCH", path, "Upgrade", "websocket"}, {"GET", "/v1/models", "Upgrade", "websocket"},
	} {
		if r := s.ask(row[0], row[1], "", row[2:]...); r.status == 426 {
			t.Errorf("%v: 426", row)
		}
	}
}

// An Anthropic client is told of each failure in its own shape, whatever layer finds it, and no other client is.
func TestErrors_Shape(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Tokens = []config.Token{{Name: "app", SHA256: sha256.Sum256([]byte("a"))}}
	})
	const messages, version = "/v1/messages", "2023-06-01"
	for _, row := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		kind                     string // "" is OpenAI's shape
	}{
		{"no token", "POST", messages, "{}", nil, 401, "authentication_error"},
		{"no token, deeper", "POST", messages + "/count_tokens", "{}", nil, 401, "authentication_error"},
		{"no such route", "POST", messages + "/batches", "", []string{"X-Api-Key", "a"}, 404, "not_found_error"},
		{"a foreign origin", "POST", messages, "", []string{"X-Api-Key", "a", "Origin", "http://evil.example"}, 403, "permission_error"},
		{"another type of body", "POST", messages, "a=b", []string{"X-Api-Key", "a", "Content-Type", "text/plain"}, 415, "invalid_request_error"},
		{"no such model", "GET", "/v1/models/nope", "", []string{"X-Api-Key", "a", "Anthropic-Version", version}, 404, "not_found_error"},
		{"models without a token", "GET", "/v1/models", "", []string{"Anthropic-Version", version}, 401, "authentication_error"},
		{"another method of messages", "GET", messages, "", []string{"X-Api-Key", "a"}, 405, "invalid_request_error"},
		{"another method", "POST", "/v1/models", "", []string{"X-Api-Key", "a", "Anthropic-Version", version}, 405, "invalid_request_error"},
		{"a base URL without /v1", "POST", "/messages", "", []string{"X-Api-Key", "a", "Anthropic-Version", version}, 404, "not_found_error"},
		{"a base URL with two", "POST", "/v1/v1/messages", "", []string{"X-Api-Key", "a", "Anthropic-Version", version}, 404, "not_found_error"},
		{"no such model, in OpenAI's API", "GET", "/v1/models/nope", "", []string{"X-Api-Key", "a"}, 404, ""},
		{"a run", "GET", "/v1/runs/nope", "", []string{"X-Api-Key", "a", "Anthropic-Version", version}, 404, ""},
		{"a longer path", "POST", "/v1/messagesx", "", []string{"X-Api-Key", "a"}, 404, ""},
	} {
		r := s.ask(row.method, row.path, row.body, row.header...)
		var got web.AnthropicBody
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != row.status || r.err == nil || r.err.XCause == "" {
			t.Fatalf("%s: %d %s %v", row.name, r.status, r.body, err)
		}
		if row.kind == "" {
			if got.Type != "" || r.err.Code == "" || r.header.Get("Request-Id") != "" {
				t.Errorf("%s: %s %v", row.name, r.body, r.header)
			}
			continue
		}
		id := r.header.Get("X-Request-Id")
		if got.Type != "error" || got.Error.Type != row.kind || got.Error.Message == "" || id == "" || got.RequestID != id || r.header.Get("Request-Id") != id {
			t.Errorf("%s: %s %v", row.name, r.body, r.header)
		}
		if bearer := r.header.Get("Www-Authenticate"); (bearer == `Bearer realm="penstock"`) != (row.status == 401) {
			t.Errorf("%s: WWW-Authenticate %q", row.name, bearer)
		}
	}
}

// messageBody asks an agent by Anthropic's API.
func messageBody(model, prompt, more string) string {
	text, _ := json.Marshal(prompt) // a string always can be
	return `{"model":"` + model + `","max_tokens":9,"messages":[{"role":"user","content":` + string(text) + `}]` + more + `}`
}

// What fails before a start, and after, has for an Anthropic client a status that it repeats, or
// doesn't.
func TestMessages_Failures(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1; c.Queue.MaxWaiting = 1 })
	const messages = "/v1/messages"
	type row struct {
		name, body string
		header     []string
		status     int
		kind, code string
		retry      string // x-should-retry
		wait       bool   // Retry-After
	}
	hold := func(rows []row) {
		t.Helper()
		for _, row := range rows {
			r := s.ask("POST", messages, row.body, row.header...)
			var got web.AnthropicBody
			if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != row.status || got.Error.Type != row.kind || string(got.Error.XCause) != row.code {
				t.Errorf("%s: %d %s %v", row.name, r.status, r.body, err)
			}
			if got.RequestID == "" || got.RequestID != r.header.Get("Request-Id") || (got.Error.RunID != "") != (row.status == 406 || row.status == 409) || (got.Error.XReceipt != nil) != (row.status == 406) {
				t.Errorf("%s: %s %v", row.name, r.body, r.header)
			}
			if r.header.Get("X-Should-Retry") != row.retry || (r.header.Get("Retry-After") != "") != row.wait {
				t.Errorf("%s: %v", row.name, r.header)
			}
		}
	}
	const wrong, server, overloaded = "invalid_request_error", "api_error", "overloaded_error"
	hold([]row{
		{"no model", `{"max_tokens":9,"messages":[{"role":"user","content":"x"}]}`, nil, 400, wrong, "invalid_request", "", false},
		{"no JSON", `{`, nil, 400, wrong, "invalid_request", "", false},
		{"no such model", messageBody("gpt-9", "x", ""), nil, 404, "not_found_error", "model_not_found", "", false},
		{"a foreign cwd", messageBody("sh", "x", `,"cwd":"/etc"`), nil, 403, "permission_error", "cwd_not_allowed", "", false},
		{"too large", `{"x":"` + strings.Repeat("x", web.BodyMax) + `"}`, nil, 413, "request_too_large", "body_too_large", "", false},
		{"another coding", messageBody("sh", "x", ""), []string{"Content-Encoding", "br"}, 415, wrong, "unsupported_media_type", "", false},
		{"no such program", messageBody("absent", "x", ""), nil, 503, server, "cli_missing", "false", false},
		{"killed", messageBody("sh", "echo some; kill -9 $$", ""), nil, 406, wrong, "killed", "false", false},
		{"failed", messageBody("sh", "exit 3", ""), nil, 406, wrong, "cli_error", "false", false},
	})
	taken := []string{"X-Run-Id", "taken"}
	if r := s.ask("POST", messages, messageBody("sh", "echo x", ""), taken...); r.status != 200 || r.header.Get("Request-Id") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	hold([]row{{"a taken id", messageBody("sh", "echo y", ""), taken, 409, wrong, "run_id_conflict", "false", false}})
	ctx, cancel := context.WithCancel(t.Context())
	var held sync.WaitGroup
	occupy := func() {
		if resp, err := s.do(ctx, "POST", messages, messageBody("sh", "sleep 300", "")); err == nil {
			resp.Body.Close()
		}
	}
	held.Go(occupy)
	eventually(t, "one runs", func() bool { return s.healthNow().Queue.Running == 1 })
	hold([]row{{"a long queue", messageBody("sh", "echo x", `,"timeout_ms":200`), nil, 529, overloaded, "queue_timeout", "true", true}})
	held.Go(occupy)
	eventually(t, "one waits", func() bool { return s.healthNow().Queue.Waiting == 1 })
	hold([]row{{"a full queue", messageBody("sh", "echo x", ""), nil, 529, overloaded, "queue_full", "true", true}})
	cancel()
	held.Wait()
}

// A client of Anthropic's API lists models as that has them, and finds one.
func TestModels_Anthropic(t *testing.T) {
	s := serve(t, nil)
	version := []string{"Anthropic-Version", "2023-06-01"}
	var list struct {
		Data []struct {
			Type, ID     string
			DisplayName  string    `json:"display_name"`
			CreatedAt    time.Time `json:"created_at"`
			Ready        bool
			Capabilities struct {
				Efforts []string
				Effort  struct{ Supported bool }
			}
		}
		HasMore bool   `json:"has_more"`
		First   string `json:"first_id"`
		Last    string `json:"last_id"`
	}
	r := s.ask("GET", "/v1/models?limit=1000", "", version...)
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.status != 200 || r.header.Get("Request-Id") == "" {
		t.Fatalf("%d %s %v", r.status, r.body, err)
	}
	n := len(list.Data)
	if n < 3 || list.HasMore || list.First != list.Data[0].ID || list.Last != list.Data[n-1].ID {
		t.Fatalf("%+v", list)
	}
	for _, m := range list.Data {
		if m.Type != "model" || m.DisplayName != m.ID || m.CreatedAt.IsZero() || m.Capabilities.Effort.Supported != (len(m.Capabilities.Efforts) > 0) {
			t.Errorf("%+v", m)
		}
	}
	first := list.First
	r = s.ask("GET", "/v1/models?limit=1&after_id="+first, "", version...)
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || len(list.Data) != 1 || list.Data[0].ID == first || !list.HasMore {
		t.Errorf("the second page: %s %v", r.body, err)
	}
	if r := s.ask("GET", "/v1/models?after_id="+list.Last+"&limit=1000", "", version...); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := s.ask("GET", "/v1/models?after_id=nope", "", version...); r.status != 400 || r.code() != "invalid_request" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := s.ask("GET", "/v1/models/upper/big", "", version...); r.status != 200 || !strings.Contains(r.body, `"type":"model","id":"upper/big"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
}
