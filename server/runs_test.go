package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/config"
)

// The list of live runs has what each needs now, and where the others wait.
func TestLiveRuns(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1 })
	begin := func(id, script, more string) {
		resp, err := s.do(context.Background(), "POST", "/v1/chat/completions", chatBody("sh", script, true, more), "X-Run-Id", id)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
	}
	begin("spins", "while :; do :; done", `,"session_id":"talk"`)
	begin("first", "echo never", "")
	begin("second", "echo never", "")
	begin("turn", "echo never", `,"session_id":"talk"`)
	list := func(state string) map[string]shownRun {
		var reply struct{ Data []shownRun }
		if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs?state="+state, "").body), &reply); err != nil {
			t.Fatal(err)
		}
		out := map[string]shownRun{}
		for _, r := range reply.Data {
			out[r.ID] = r
		}
		return out
	}
	eventually(t, "figures", func() bool {
		u := list("live")["spins"].Usage
		return u != nil && u.CPUCores != nil && *u.CPUCores > 0 && *u.CPUUsec > 0 && *u.Memory > 0 && *u.Pids == 1 && !u.Stalled && !u.Sampled.IsZero()
	})
	live := list("live")
	for id, want := range map[string]queuePosition{"first": {For: "slot", Position: 1}, "second": {For: "slot", Position: 2}, "turn": {For: "session"}} {
		r := live[id]
		if r.Queue == nil || r.State != stateQueued || r.Usage != nil {
			t.Fatalf("%s: %+v", id, r)
		}
		if q := *r.Queue; q.For != want.For || q.Position != want.Position || q.Waited <= 0 {
			t.Errorf("%s waits: %+v, want %+v", id, q, want)
		}
	}
	if live["turn"].Session != "talk" {
		t.Errorf("session of a queued one: %q", live["turn"].Session)
	}
	for _, id := range []string{"turn", "second", "first", "spins"} {
		s.ask("POST", "/v1/runs/"+id+"/cancel", "")
	}
	eventually(t, "no live runs", func() bool { return len(list("live")) == 0 })
	if r := list("finished")["spins"]; r.Usage != nil || r.Receipt == nil {
		t.Errorf("a finished run: %+v", r)
	}
}

// A request that is just becoming a run is in a list once.
func TestListRuns_NoneTwice(t *testing.T) {
	s := serve(t, nil)
	var asking sync.WaitGroup
	for i := range 4 {
		asking.Go(func() {
			for n := range 8 {
				s.ask("POST", "/v1/chat/completions", chatBody("sh", "echo done", false, ""), "X-Run-Id", fmt.Sprintf("once-%d-%d", i, n))
			}
		})
	}
	ended := make(chan struct{})
	go func() { asking.Wait(); close(ended) }()
	for !isClosed(ended) {
		var reply struct{ Data []shownRun }
		if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs", "").body), &reply); err != nil {
			t.Error(err)
		}
		seen := map[string]bool{}
		for _, r := range reply.Data {
			if seen[r.ID] {
				t.Errorf("%s is listed twice", r.ID)
			}
			seen[r.ID] = true
		}
	}
}

// One run has one receipt, wherever it is shown: the whole answer, the chunk
// with the usage, the error object, the error frame and the run's own record.
func TestReceipt_SameEverywhere(t *testing.T) {
	s := serve(t, nil)
	held := s.healthNow().Isolation
	for _, row := range []struct {
		name, prompt, more string
		stream             bool
	}{
		{"whole", "echo fine", "", false},
		{"stream", "echo fine", `,"stream_options":{"include_usage":true}`, true},
		{"whole, failed", "echo bad; exit 3", "", false},
		{"stream, failed", "echo bad; exit 3", "", true},
		{"pids", "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done; wait", `,"limits":{"pids_max":8}`, false},
		{"deadline", "sleep 60", `,"timeout_ms":400`, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := s.chat("sh", row.prompt, row.stream, row.more)
			var shown any
			switch {
			case r.err != nil && r.err.Receipt != nil:
				shown = r.err.Receipt
			case len(r.chunks) > 0 && r.chunks[len(r.chunks)-1].Receipt != nil:
				shown = r.chunks[len(r.chunks)-1].Receipt
			default:
				t.Fatalf("no receipt in %s", r.body)
			}
			var record struct {
				Receipt    map[string]any
				EnforcedBy map[string]any `json:"enforced_by"`
			}
			if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs/"+r.header.Get("X-Run-Id"), "").body), &record); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(record.Receipt, asMap(t, shown)); diff != "" {
				t.Errorf("receipt (-record +shown):\n%s", diff)
			}
			if diff := cmp.Diff(record.EnforcedBy, record.Receipt["enforced_by"]); diff != "" {
				t.Errorf("enforced_by (-record +receipt):\n%s", diff)
			}
			if by := record.EnforcedBy; by["memory"] != string(held.Memory) || by["pids"] != string(held.Pids) || by["kill"] != "kernel" {
				t.Errorf("held by %v, and health says %+v", by, held)
			}
			for name, v := range record.Receipt {
				if v == nil {
					t.Errorf("%s is null, want it absent", name)
				}
			}
		})
	}
}

func asMap(t *testing.T, v any) (m map[string]any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

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
func TestRuns_OwnedByClient(t *testing.T) {
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
func TestChat_LastEventIDOfAnotherRun(t *testing.T) {
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
