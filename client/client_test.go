package client

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// daemon is a stand-in with three runs.
func daemon(t *testing.T) http.Handler {
	routes := http.NewServeMux()
	ids := []string{"run_01AAA", "run_01BAA", "nightly-7"}
	routes.HandleFunc("GET /v1/runs", func(w http.ResponseWriter, r *http.Request) {
		var all []map[string]string
		for _, id := range ids {
			all = append(all, map[string]string{"id": id, "model": "demo", "state": "running"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": all})
	})
	routes.HandleFunc("GET /v1/runs/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, id := range ids {
			if id == r.PathValue("id") {
				_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "usage": map[string]any{"pids": 4}})
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"message":"no run","code":"run_not_found"}}`)
	})
	routes.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "queue_full", "message": r.Header.Get("Authorization") + " " + r.Header.Get("X-Run-Id") + " " + string(body)}})
	})
	return routes
}

func TestClient_Find(t *testing.T) {
	s := httptest.NewServer(daemon(t))
	defer s.Close()
	c, err := New(s.URL+"/", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"run_01AAA": "run_01AAA", "run_01B": "run_01BAA", "baa": "run_01BAA", "night": "nightly-7", "y-7": "nightly-7"} {
		if r, err := c.Find(t.Context(), name); err != nil || r.ID != want {
			t.Errorf("%s: %s, %v", name, r.ID, err)
		}
	}
	if r, err := c.Run(t.Context(), "nightly-7"); err != nil || *r.Usage.Pids != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := c.Find(t.Context(), "-7"); err == nil {
		t.Errorf("two characters found %s", r.ID)
	}
	_, err = c.Find(t.Context(), "run_01")
	if many := new(Ambiguous); !errors.As(err, &many) || !strings.Contains(err.Error(), "run_01AAA") || !strings.Contains(err.Error(), "run_01BAA") {
		t.Errorf("ambiguous: %v", err)
	}
	_, err = c.Find(t.Context(), "zz/../x")
	if told := new(Error); !errors.As(err, &told) || told.Code != "run_not_found" {
		t.Errorf("none: %v", err)
	}
}

// The whole request as it goes out, over a unix socket too.
func TestClient_Chat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: daemon(t)}}
	s.Start()
	defer s.Close()
	c, err := New("unix:"+path, "secret")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Chat(t.Context(), Ask{Model: "demo", Prompt: "<é>", Session: "talk", RunID: "n-1", Timeout: 1e9, Limits: map[string]string{"memory_max": "64MiB", "pids_max": "9", "cpu_max": "50%"}})
	told := new(Error)
	if !errors.As(err, &told) || told.Status != 429 || told.RetryAfter != 7e9 {
		t.Fatalf("%v", err)
	}
	want := `Bearer secret n-1 {"limits":{"cpu_max":"50%","memory_max":"64MiB","pids_max":9},"messages":[{"content":"\u003cé\u003e","role":"user"}],` +
		`"model":"demo","session_id":"talk","stream":true,"stream_options":{"include_usage":true},"timeout_ms":1000}`
	if diff := cmp.Diff(want, told.Message); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// The token and the prompt go to the address that was named alone.
func TestClient_NoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	c, err := New(s.URL, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Chat(t.Context(), Ask{Model: "demo", Prompt: "x"}); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("chat: %v", err)
	}
	if _, err := c.Runs(t.Context(), Filter{}); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("runs: %v", err)
	}
	if _, err := c.Health(t.Context()); err == nil {
		t.Error("health was taken from a redirection")
	}
}

func TestClient_OtherAnswers(t *testing.T) {
	for _, address := range []string{"", "ftp://x", "http://", "unix", "http://x?y"} {
		if c, err := New(address, ""); err == nil && address != "unix" {
			t.Errorf("%q: %+v", address, c)
		}
	}
	stranger := httptest.NewServer(http.NotFoundHandler())
	c, err := New(strings.TrimPrefix(stranger.URL, "http://"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Runs(t.Context(), Filter{}); err == nil || !strings.Contains(err.Error(), "404 Not Found, and not as penstock says it") {
		t.Errorf("a stranger: %v", err)
	}
	stranger.Close()
	_, err = c.Runs(t.Context(), Filter{})
	if absent := new(Unreachable); !errors.As(err, &absent) || !strings.HasSuffix(err.Error(), ": connect: connection refused") {
		t.Errorf("nobody: %v", err)
	}
}

// A run may be answered before it has ended: its end is waited for.
func TestClient_Wait(t *testing.T) {
	asked := 0
	routes := http.NewServeMux()
	routes.HandleFunc("GET /v1/runs/{id}/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	})
	routes.HandleFunc("GET /v1/runs/{id}", func(w http.ResponseWriter, r *http.Request) {
		state := "ending"
		if asked++; asked > 1 {
			state = "finished"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": r.PathValue("id"), "state": state, "answered_at": "2026-01-02T03:04:05Z"})
	})
	s := httptest.NewServer(routes)
	defer s.Close()
	c, err := New(s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.Wait(t.Context(), "run_1"); err != nil || r.State != Finished {
		t.Errorf("%+v, %v", r, err)
	}
}
