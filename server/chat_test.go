package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/config"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
)

func TestChat(t *testing.T) {
	s := serve(t, nil)
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("stream=", stream), func(t *testing.T) {
			r := s.chat("upper", "some words", stream, `,"temperature":1,"stream_options":{"include_usage":true}`)
			if r.status != 200 || r.text != "SOME WORDS" || r.finish != "stop" || r.err != nil || r.done != stream {
				t.Fatalf("%+v", r)
			}
			if id := r.header.Get("X-Run-Id"); !strings.HasPrefix(id, "run_") {
				t.Errorf("X-Run-Id %q", id)
			}
			if got := r.header.Get("X-Penstock-Ignored"); got != "temperature" {
				t.Errorf("X-Penstock-Ignored %q", got)
			}
			last := r.chunks[len(r.chunks)-1]
			if last.Receipt == nil || last.Usage != nil {
				t.Errorf("receipt %v, usage %v: want a receipt and no invented usage", last.Receipt, last.Usage)
			}
			for _, c := range r.chunks {
				if c.ID != r.chunks[0].ID || c.Created != r.chunks[0].Created || c.Model != "upper" {
					t.Errorf("chunk %+v is of another completion", c)
				}
			}
			if stream {
				if d := r.chunks[0].Choices[0].Delta; d.Role != "assistant" || d.Content == nil || *d.Content != "" {
					t.Errorf("first delta %+v", d)
				}
				if !strings.HasSuffix(r.body, "data: [DONE]\n\n") || strings.Count(r.body, "[DONE]") != 1 {
					t.Errorf("end of stream: %q", r.body)
				}
			}
		})
	}
}

// Our own event lines: usage, reasoning, tools and their shapes.
func TestEventLines(t *testing.T) {
	s := serve(t, nil)
	script := `echo '{"text":"one "}'; echo '{"text":"two"}'; echo '{"usage":{"prompt_tokens":3,"completion_tokens":4}}'; echo '{"done":true}'`
	r := s.chat("lines", script, true, `,"stream_options":{"include_usage":true}`)
	if r.text != "one two" || r.finish != "stop" || r.usage == nil || r.usage.Prompt != 3 || r.usage.Completion != 4 || r.usage.Total != 7 {
		t.Errorf("stream %+v", r)
	}
	if r := s.chat("lines", script, true, ""); r.usage != nil || strings.Contains(r.body, "x_receipt") {
		t.Errorf("usage that was not asked for: %s", r.body)
	}
	r = s.chat("lines", script, false, "")
	if r.text != "one two" || r.usage == nil || r.usage.Total != 7 {
		t.Errorf("whole %+v", r)
	}
}

func TestFailures(t *testing.T) {
	s := serve(t, nil)
	for _, row := range []struct{ model, prompt, more, code, message string }{
		{"sh", "echo sorry >&2; exit 3", "", "cli_error", "sorry"},
		{"sh", "echo some text; exit 3", "", "cli_error", "3"},
		{"sh", "kill -9 $$", "", "killed", ""},
		{"sh", "echo some text; kill -9 $$", "", "killed", ""},
		{"sh", "sleep 300", `,"timeout_ms":300`, "timeout", ""},
		{"sh", "yes a line of text", "", "output_limit", ""},
		{"lines", `echo '{"text":"a"}'; echo '{"error":"broken"}'`, "", "cli_error", "broken"},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprint(row.prompt, " stream=", stream), func(t *testing.T) {
				r := s.chat(row.model, row.prompt, stream, row.more)
				if r.code() != row.code || r.finish != "" || r.done != stream {
					t.Fatalf("code %q finish %q done %v, want %q: %s", r.code(), r.finish, r.done, row.code, web.Clip(r.body, 500))
				}
				if !strings.Contains(r.err.Message, row.message) || r.err.RunID != r.header.Get("X-Run-Id") || r.err.Receipt == nil {
					t.Errorf("error %+v", r.err)
				}
				if !stream && (r.status != 400 || r.err.Type != "run_error" || r.header.Get("X-Should-Retry") != "false") {
					t.Errorf("status %d, x-should-retry %q", r.status, r.header.Get("X-Should-Retry"))
				}
			})
		}
	}
}

func TestCLIMissing(t *testing.T) {
	s := serve(t, nil)
	for _, stream := range []bool{false, true} {
		r := s.chat("absent", "x", stream, "")
		if r.status != 503 || r.code() != "cli_missing" || r.header.Get("X-Should-Retry") != "false" {
			t.Errorf("stream %v: %+v", stream, r)
		}
	}
}

// Leaving in each phase ends the run; a later request has its slot.
func TestClientGone(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1 })
	idle := func() bool {
		h := s.healthNow()
		return h.Queue.Running == 0 && h.Queue.Waiting == 0 && h.Children.Runs == 0
	}
	lastCause := func() string {
		var list struct{ Data []run.Record }
		if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs?limit=1", "").body), &list); err != nil || len(list.Data) != 1 {
			t.Fatal(err, list)
		}
		return string(list.Data[0].Cause)
	}
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("running stream=", stream), func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				eventually(t, "running", func() bool { return strings.Contains(s.ask("GET", "/v1/runs?state=running", "").body, `"id"`) })
				cancel()
			}()
			resp, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "echo a; sleep 300", stream, ""))
			if err == nil {
				_, err = read(resp, nil)
				resp.Body.Close()
			}
			if err == nil {
				t.Fatal("the reply came to its end")
			}
			eventually(t, "idle, long before its own end", idle)
			if got := lastCause(); got != "client_gone" {
				t.Errorf("cause %q", got)
			}
		})
	}
	t.Run("queued", func(t *testing.T) {
		hold, release := context.WithCancel(context.Background())
		held := make(chan struct{})
		go func() {
			defer close(held)
			if resp, err := s.do(hold, "POST", "/v1/chat/completions", chatBody("sh", "sleep 300", false, "")); err == nil {
				resp.Body.Close()
			}
		}()
		eventually(t, "running", func() bool { return s.healthNow().Queue.Running == 1 })
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		resp, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "echo never", true, ""))
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 64)
		n, err := resp.Body.Read(first)
		if err != nil || !strings.HasPrefix(string(first[:n]), ": queued position=1") {
			t.Errorf("first bytes while queued: %q %v", first[:n], err)
		}
		cancel()
		resp.Body.Close()
		eventually(t, "none waits", func() bool { return s.healthNow().Queue.Waiting == 0 })
		release()
		<-held
		eventually(t, "idle", idle)
		if r := s.ask("GET", "/v1/runs/"+resp.Header.Get("X-Run-Id"), ""); r.status != 404 {
			t.Errorf("a run was started for a client that had left the queue: %+v", r)
		}
	})
}

func TestQueueRefusals(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1; c.Queue.MaxWaiting = 1 })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	background := func() {
		if resp, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "sleep 300", false, "")); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		ended <- struct{}{}
	}
	go background()
	eventually(t, "running", func() bool { return s.healthNow().Queue.Running == 1 })
	if r := s.chat("sh", "echo x", false, `,"timeout_ms":200`); r.status != 429 || r.code() != "queue_timeout" || r.header.Get("Retry-After") == "" {
		t.Errorf("deadline in the queue: %+v", r)
	}
	if r := s.chat("sh", "echo x", true, `,"timeout_ms":200`); r.code() != "queue_timeout" || !r.done {
		t.Errorf("deadline in the queue, streamed: %+v", r)
	}
	if n := s.metric(`penstock_admission_refused_total{client="anonymous",reason="queue_timeout"}`); n != 2 {
		t.Errorf("%v refusals are counted, want both", n)
	}
	go background()
	eventually(t, "waiting", func() bool { return s.healthNow().Queue.Waiting == 1 })
	for _, stream := range []bool{false, true} {
		r := s.chat("sh", "echo x", stream, "")
		plain := r.status == 429 && r.header.Get("Retry-After") != "" && r.header.Get("X-Should-Retry") == "true"
		if r.code() != "queue_full" || !plain && !(stream && r.late()) {
			t.Errorf("full queue: %+v", r)
		}
		if r.err == nil || !r.err.Capacity || r.err.Dispatch != "not_started" {
			t.Errorf("full queue: %+v", r.err)
		}
	}
	h := s.healthNow()
	if h.Status != "busy" || !h.Busy {
		t.Errorf("health %+v", h)
	}
	cancel()
	<-ended
	<-ended
}

func TestOverBudget(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.Memory.Bytes = 3 << 30 })
	r := s.chat("sh", "echo x", false, "")
	if r.status != 400 || r.code() != "over_budget" {
		t.Errorf("%+v", r)
	}
	if r := s.chat("sh", "echo x", false, `,"limits":{"memory_max":"2GiB"}`); r.status != 200 {
		t.Errorf("a smaller run: %+v", r)
	}
}

func TestCancel(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1 })
	cancelled := 0
	resp, err := s.do(context.Background(), "POST", "/v1/chat/completions", chatBody("sh", "echo a; sleep 300", true, ""))
	if err != nil {
		t.Fatal(err)
	}
	id := resp.Header.Get("X-Run-Id")
	r, err := read(resp, func(c openai.Completion) {
		if cancelled++; cancelled == 2 {
			if r := s.ask("POST", "/v1/runs/"+id+"/cancel", ""); r.status != 202 {
				t.Errorf("cancel: %+v", r)
			}
		}
	})
	resp.Body.Close()
	if err != nil || r.code() != "cancelled" || !r.done {
		t.Errorf("%+v %v", r, err)
	}
	if r := s.ask("POST", "/v1/runs/"+id+"/cancel", "{}"); r.status != 200 {
		t.Errorf("second cancel: %+v", r)
	}
	if r := s.ask("POST", "/v1/runs/nosuch/cancel", "{}"); r.status != 404 {
		t.Errorf("cancel of nothing: %+v", r)
	}
}

func TestCancelQueued(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1 })
	hold, err := s.do(context.Background(), "POST", "/v1/chat/completions", chatBody("sh", "sleep 300", true, ""), "X-Run-Id", "holder")
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Body.Close()
	queued, err := s.do(context.Background(), "POST", "/v1/chat/completions", chatBody("sh", "echo never", true, ""), "X-Run-Id", "queued")
	if err != nil {
		t.Fatal(err)
	}
	defer queued.Body.Close()
	if r := s.ask("GET", "/v1/runs/queued", ""); r.status != 200 || !strings.Contains(r.body, `"state":"queued"`) ||
		!strings.Contains(r.body, `"pids":{"limit":64}`) || strings.Contains(r.body, `"memory":""`) {
		t.Errorf("%+v", r)
	}
	if r := s.ask("GET", "/v1/runs?state=queued", ""); !strings.Contains(r.body, `"id":"queued"`) {
		t.Errorf("%+v", r)
	}
	if r := s.ask("POST", "/v1/runs/queued/cancel", ""); r.status != 202 {
		t.Errorf("%+v", r)
	}
	if r, err := read(queued, nil); err != nil || r.code() != "cancelled" || !r.done || r.text != "" {
		t.Errorf("%+v %v", r, err)
	}
	if r := s.ask("POST", "/v1/runs/holder/cancel", ""); r.status != 202 {
		t.Errorf("%+v", r)
	}
}

func TestDurable(t *testing.T) {
	s := serve(t, nil)
	body := chatBody("sh", "echo first; sleep 1; echo second", true, "")
	ctx, cancel := context.WithCancel(context.Background())
	resp, err := s.do(ctx, "POST", "/v1/chat/completions", body, "X-Run-Id", "mine:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(resp, func(c openai.Completion) {
		if len(c.Choices) > 0 && c.Choices[0].Delta.Content != nil && *c.Choices[0].Delta.Content != "" {
			cancel()
		}
	}); err == nil {
		t.Fatal("not cut")
	}
	resp.Body.Close()
	again := s.ask("POST", "/v1/chat/completions", body, "X-Run-Id", "mine:1")
	if again.text != "first\nsecond\n" || again.finish != "stop" || !again.done {
		t.Errorf("attached: %+v", again)
	}
	if r := s.ask("POST", "/v1/chat/completions", body, "X-Run-Id", "mine:1", "Last-Event-ID", again.ids[1]); r.text != "second\n" || !r.done {
		t.Errorf("after %s: %+v", again.ids[1], r)
	}
	whole := s.chat("sh", "echo first; sleep 1; echo second", false, "", "X-Run-Id", "mine:1")
	if whole.text != "first\nsecond\n" || whole.chunks[0].ID != again.chunks[0].ID || whole.chunks[0].Created != again.chunks[0].Created {
		t.Errorf("whole: %+v", whole)
	}
	other := s.chat("sh", "echo other", false, "", "X-Run-Id", "mine:1")
	if other.status != 409 || other.code() != "run_id_conflict" {
		t.Errorf("other request: %+v", other)
	}
	if events := s.ask("GET", "/v1/runs/mine:1/events", ""); events.text != "first\nsecond\n" || !events.done || events.finish != "stop" {
		t.Errorf("events: %+v", events)
	}
	if body := s.ask("GET", "/metrics", "").body; !strings.Contains(body, `penstock_runs_started_total{backend="sh",client="anonymous"} 1`) {
		t.Error("more than one run was started")
	}
}

func TestShutdown(t *testing.T) {
	for _, forced := range []bool{false, true} {
		t.Run(fmt.Sprint("forced=", forced), func(t *testing.T) {
			s := serve(t, func(c *config.Config) {
				c.Budget.MaxRuns = 1
				c.DrainTimeout.Duration = 300 * time.Millisecond
				if forced {
					c.DrainTimeout.Duration = time.Hour
				}
			})
			open := func() *http.Response {
				resp, err := s.do(context.Background(), "POST", "/v1/chat/completions", chatBody("sh", "echo a; sleep 60", true, ""))
				if err != nil {
					t.Fatal(err)
				}
				return resp
			}
			running, waiting := open(), open()
			s.stop()
			eventually(t, "draining", func() bool { return s.healthNow().Status == "draining" })
			if r := s.chat("sh", "echo x", false, ""); r.status != 503 || r.code() != "shutting_down" || r.header.Get("Retry-After") == "" {
				t.Errorf("new request: %+v", r)
			}
			if r := s.ask("GET", "/readyz", ""); r.status != 503 {
				t.Errorf("readyz %d", r.status)
			}
			if r, err := read(waiting, nil); err != nil || r.code() != "shutting_down" || !r.done {
				t.Errorf("waiting: %+v %v", r, err)
			}
			waiting.Body.Close()
			if forced {
				s.force()
			}
			if r, err := read(running, nil); err != nil || r.code() != "shutting_down" || !r.done || (!forced && r.text != "a\n") {
				t.Errorf("running: %+v %v", r, err)
			}
			running.Body.Close()
			s.end()
		})
	}
}

func TestShutdownLetsRunsFinish(t *testing.T) {
	s := serve(t, nil)
	resp, err := s.do(context.Background(), "POST", "/v1/chat/completions", chatBody("sh", "echo a; sleep 1; echo b", true, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.stop()
	if r, err := read(resp, nil); err != nil || r.text != "a\nb\n" || r.finish != "stop" || !r.done {
		t.Errorf("%+v %v", r, err)
	}
}

// The same request under the id of a run that was pruned starts nothing, however
// often it comes and whichever daemon gets it; another request may have the id.
func TestChat_PrunedRun(t *testing.T) {
	state, count := t.TempDir(), filepath.Join(t.TempDir(), "count")
	configure := func(c *config.Config) { c.StateDir, c.Keep.Runs = state, 1 }
	s := serve(t, configure)
	acts := "echo x >> " + count + "; echo done"
	if r := s.chat("sh", acts, false, "", "X-Run-Id", "nightly"); r.status != 200 {
		t.Fatalf("%+v", r)
	}
	for i := range 2 {
		if r := s.chat("sh", "echo next", false, "", "X-Run-Id", fmt.Sprint("next-", i)); r.status != 200 {
			t.Fatalf("%+v", r)
		}
	}
	eventually(t, "pruned", func() bool { return s.ask("GET", "/v1/runs/nightly", "").status == 404 })
	for _, s := range []*served{s, nil} {
		if s == nil {
			s = serve(t, configure)
		}
		for _, stream := range []bool{false, true, false} {
			if r := s.chat("sh", acts, stream, "", "X-Run-Id", "nightly"); r.status != 410 || r.code() != "replay_gone" {
				t.Errorf("stream %v: %+v", stream, r)
			}
		}
		s.end()
	}
	if got, err := os.ReadFile(count); err != nil || string(got) != "x\n" {
		t.Errorf("the agent has acted: %q %v", got, err)
	}
	s = serve(t, configure)
	if r := s.chat("sh", "echo another", false, "", "X-Run-Id", "nightly"); r.status != 200 || !strings.Contains(r.text, "another") {
		t.Errorf("another request: %+v", r)
	}
}
