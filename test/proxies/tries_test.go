package proxies

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock/test/daemon"
)

// try is what has to work through every proxy.
func (p *proxied) try(t *testing.T, s settings) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel) // the tries are at once, after this has returned
	const chat = "/v1/chat/completions"
	t.Run("a long answer", func(t *testing.T) {
		t.Parallel()
		r, err := p.request(ctx, "POST", chat, daemon.Body("demo", silence+" done", nil))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"content":"done `) {
			t.Errorf("%d %.300q %v", resp.StatusCode, text, err)
		}
		if c := resp.Header.Get("Cache-Control"); c != "no-store, no-transform" {
			t.Errorf("Cache-Control %q", c)
		}
	})
	t.Run("a silent stream", func(t *testing.T) {
		t.Parallel()
		a, err := p.stream(ctx, "start "+silence+" done", nil)
		if err != nil || a.Text != "start done " || a.Finish != "stop" || !a.Done {
			t.Errorf("%+v %v", a, err)
		}
	})
	t.Run("each delta at once", func(t *testing.T) {
		t.Parallel()
		p.deltas(ctx, t)
	})
	t.Run("leaving ends the run", func(t *testing.T) {
		t.Parallel()
		for _, stream := range []bool{true, false} {
			p.leave(ctx, t, stream)
		}
	})
	t.Run("a large body", func(t *testing.T) {
		t.Parallel()
		body := daemon.Body("demo", "done", map[string]any{"metadata": nil, "user": strings.Repeat("x", 8_000_000)})
		if status, text, err := p.ask(ctx, "POST", chat, body); status != 200 || err != nil {
			t.Errorf("%d %.300s %v", status, text, err)
		}
	})
	t.Run("the live page", func(t *testing.T) {
		t.Parallel()
		for origin, want := range map[string]bool{p.url: !s.noPage, "https://evil.example": false} {
			if status, text, err := p.ask(ctx, "GET", "/v1/runs", nil, "Origin", origin); (status == 200) != want || err != nil {
				t.Errorf("from %s: %d %.300s %v", origin, status, text, err)
			}
		}
	})
	t.Run("a failure", func(t *testing.T) {
		t.Parallel()
		if status, text, err := p.ask(ctx, "POST", chat, daemon.Body("demo", "/exit 3", nil)); status != 400 || err != nil || !strings.Contains(string(text), `"run_error"`) {
			t.Errorf("%d %.300s %v", status, text, err)
		}
	})
}

func (p *proxied) stream(ctx context.Context, prompt string, on func(*daemon.Answer)) (*daemon.Answer, error) {
	r, err := p.request(ctx, "POST", "/v1/chat/completions", daemon.Body("demo", prompt, map[string]any{"stream": true}))
	if err != nil {
		return nil, err
	}
	return daemon.ReadWith(p.client, r, on)
}

// deltas wants the first word while the run still waits for its client to have it:
// what is held back by a proxy comes with the end only.
func (p *proxied) deltas(ctx context.Context, t *testing.T) {
	r, err := p.request(ctx, "POST", "/v1/chat/completions",
		daemon.Body("demo", "first /sleep 600s last", map[string]any{"stream": true}), "Accept-Encoding", "gzip", "X-Run-Id", "deltas")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		t.Log("compressed on the way")
		if body, err = gzip.NewReader(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	var seen strings.Builder
	for piece := make([]byte, 4096); !strings.Contains(seen.String(), "first"); {
		n, err := body.Read(piece)
		seen.Write(piece[:n])
		if err != nil {
			t.Fatalf("%q, then %v", seen.String(), err)
		}
	}
	if status, text, err := p.ask(ctx, "POST", "/v1/runs/deltas/cancel", nil); status != 202 || err != nil {
		t.Errorf("cancel: %d %s %v", status, text, err)
	}
}

func (p *proxied) leave(ctx context.Context, t *testing.T, stream bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prompt := fmt.Sprintf("word /sleep 600s %v", stream)
	r, err := p.request(ctx, "POST", "/v1/chat/completions", daemon.Body("demo", prompt, map[string]any{"stream": stream, "metadata": map[string]any{"leaves": fmt.Sprint(stream)}}))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		resp, err := p.client.Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		ended <- err
	}()
	runs := func(query, has string) func() error {
		return func() error {
			_, text, err := p.ask(context.WithoutCancel(ctx), "GET", "/v1/runs?"+query, nil)
			for record := range strings.SplitSeq(string(text), `{"id":`) {
				if err == nil && strings.Contains(record, fmt.Sprintf(`"leaves":"%v"`, stream)) && strings.Contains(record, has) {
					return nil
				}
			}
			return fmt.Errorf("no such run of %s: %.400s %v", query, text, err)
		}
	}
	if err := daemon.Eventually(time.Minute, runs("state=running", "")); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
	if err := daemon.Eventually(time.Minute, runs("state=finished", `"cause":"client_gone"`)); err != nil {
		t.Errorf("stream %v: %v", stream, err)
	}
}
