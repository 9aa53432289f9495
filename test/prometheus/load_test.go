package prometheus

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"penstock/test/daemon"
)

// started is a daemon with little room: two clients compete for five slots and
// more come than may wait; two slots are kept for one whose runs take long. A
// backend is there for each end that a prompt of the demo can't show.
func started(t *testing.T) *daemon.Daemon {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "tokens")
	write(t, tokens, "ci:"+secret("ci")+"\npeople:"+secret("people")+"\nnight:"+secret("night")+"\nprometheus:"+secret("prometheus")+"\n")
	return daemon.Start(t, daemon.Options{Config: fmt.Sprintf(`
tokens_file = %q
drain_timeout = "1s"
[log]
level = "error"
[budget]
memory = "672MiB"
max_runs = 7
[limits]
memory_max = "96MiB"
[queue]
max_waiting = 2
max_wait = "8s"
[clients.people]
weight = 3
[clients.night]
reserved_runs = 2
[backends.clock]
kind = "exec"
command = ["/bin/sh", "-c", "while :; do echo tick; sleep 0.2; done"]
limits = { timeout = "6s" }
[backends.silent]
kind = "exec"
command = ["/bin/sleep", "600"]
limits = { stall_timeout = "34s" }
[backends.gone]
kind = "exec"
command = ["/nowhere/agent"]
[backends.writer]
kind = "exec"
command = ["/bin/sh", "-c", "dd if=/dev/zero of=$TMPDIR/file bs=1M count=4 conv=fsync 2>/dev/null; cat"]
`, tokens)})
}

func secret(client string) string { return "the-secret-of-" + client }

// habit is one client that asks the same again and again.
type habit struct {
	client, model, prompt string
	limits                map[string]any
	leave                 bool // hangs up at the first word
	cancel                bool // uses the cancel route then
	whole                 bool // wants one object, not a stream
}

// habits end in every way a daemon's day has.
func habits() []habit {
	return []habit{
		{client: "people", model: "demo", prompt: "some words /delay 100ms that come one by one and then /sleep 1 end"},
		{client: "people", model: "demo", prompt: "/delay 300ms a crowd of people"},
		{client: "people", model: "demo", prompt: "/delay 300ms more than may wait"},
		{client: "people", model: "demo", prompt: "/delay 300ms so some are refused"},
		{client: "people", model: "demo", prompt: "/daemonize leaves a child behind /cpu 300ms"},
		{client: "people", model: "demo", prompt: "/alloc 40MiB /sleep 2 near its limit"},
		{client: "people", model: "writer", prompt: "and now the disk"},
		{client: "people", model: "demo", prompt: "one /delay 200ms two three four five six", leave: true},
		{client: "people", model: "demo", prompt: "one /delay 200ms two three four five six", cancel: true},
		{client: "ci", model: "demo", prompt: "/alloc 300MiB /sleep 20", limits: map[string]any{"memory_max": "48MiB"}},
		{client: "ci", model: "demo", prompt: "/fork 60 /sleep 20", limits: map[string]any{"pids_max": 20}},
		{client: "ci", model: "demo", prompt: "/stderr broken /exit 3", whole: true},
		{client: "ci", model: "demo", prompt: "half an answer /kill"},
		{client: "ci", model: "gone", prompt: "to nobody"},
		{client: "night", model: "clock", prompt: "until the deadline"},
		{client: "night", model: "silent", prompt: "until somebody notices"},
	}
}

// load has all habits at once until ctx ends.
func load(ctx context.Context, t *testing.T, d *daemon.Daemon) *sync.WaitGroup {
	t.Helper()
	var all sync.WaitGroup
	for _, h := range habits() {
		all.Go(func() {
			for ctx.Err() == nil {
				h.once(ctx, d)
				pause(ctx, rest()) // who was refused does not come again at once
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			_, _ = d.Health()
			pause(ctx, rest())
		}
	})
	return &all
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// once asks; how it ends is what the metrics are to tell.
func (h habit) once(ctx context.Context, d *daemon.Daemon) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	extra := map[string]any{"stream": !h.whole}
	if h.limits != nil {
		extra["limits"] = h.limits
	}
	req := d.Request(ctx, daemon.Body(h.model, h.prompt, extra))
	req.Header.Set("Authorization", "Bearer "+secret(h.client))
	cancelled := false
	_, _ = daemon.Read(req, func(a *daemon.Answer) {
		switch {
		case h.leave:
			leave()
		case h.cancel && !cancelled:
			cancelled = true
			h.end(ctx, d, a.Run)
		}
	})
}

func (h habit) end(ctx context.Context, d *daemon.Daemon, run string) {
	req, err := http.NewRequestWithContext(ctx, "POST", d.URL+"/v1/runs/"+run+"/cancel", nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+secret(h.client))
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}
