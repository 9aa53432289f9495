package server

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock/config"
)

// send makes one request and gives status and body.
func (s *served) send(method, path, body string, header map[string]string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// A run's record has its session, its metadata and the last lines of its
// stderr: another client doesn't get to see it.
func TestRunsAreTheirClientsOwn(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Tokens = []config.Token{{Name: "alice", SHA256: sha256.Sum256([]byte("a"))}, {Name: "bob", SHA256: sha256.Sum256([]byte("b"))}}
	})
	alice, bob := map[string]string{"Authorization": "Bearer a"}, map[string]string{"Authorization": "Bearer b"}
	alice["X-Run-Id"] = "hers"
	body := `{"model":"sh","messages":[{"role":"user","content":"echo alices-word >&2; exit 3"}],"session_id":"alices-word"}`
	if status, reply := s.send("POST", "/v1/chat/completions", body, alice); status != 400 {
		t.Fatalf("status %d: %s", status, reply)
	}
	delete(alice, "X-Run-Id")
	for _, row := range []struct {
		path   string
		who    map[string]string
		status int
		sees   bool
	}{
		{"/v1/runs/hers", alice, 200, true},
		{"/v1/runs", alice, 200, true},
		{"/v1/runs?client=alice", alice, 200, true},
		{"/v1/runs/hers", bob, 404, false},
		{"/v1/runs/hers/events", bob, 404, false},
		{"/v1/runs", bob, 200, false},
		{"/v1/runs?client=alice", bob, 403, false},
	} {
		status, reply := s.send("GET", row.path, "", row.who)
		if status != row.status || strings.Contains(reply, "alices-word") != row.sees {
			t.Errorf("%s as %v: status %d, want %d; %s", row.path, row.who, status, row.status, reply)
		}
	}
}

// A client that connects anew with the number of another stream's event must
// not get the answer of its new run without the beginning.
func TestNewRunIgnoresLastEventID(t *testing.T) {
	s := serve(t, nil)
	for _, seen := range []string{"3", "999"} {
		_, reply := s.send("POST", "/v1/chat/completions",
			`{"model":"sh","stream":true,"messages":[{"role":"user","content":"echo one two three four"}]}`, map[string]string{"Last-Event-ID": seen})
		var text string
		finishes := 0
		for line := range strings.Lines(reply) {
			data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: {")
			var c struct {
				Choices []struct {
					Delta  struct{ Content string }
					Finish string `json:"finish_reason"`
				}
			}
			if !ok || json.Unmarshal([]byte("{"+data), &c) != nil || len(c.Choices) == 0 {
				continue
			}
			text += c.Choices[0].Delta.Content
			if c.Choices[0].Finish == "stop" {
				finishes++
			}
		}
		if text != "one two three four\n" || finishes != 1 || !strings.Contains(reply, "[DONE]") {
			t.Errorf("Last-Event-ID %s: text %q, %d finish chunks:\n%s", seen, text, finishes, reply)
		}
	}
}
