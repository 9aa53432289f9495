package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/config"
	"penstock/outcome"
	"penstock/run"
	"penstock/run/store"
	"penstock/server/web"
	"penstock/spawn"
)

// A successor that would not know the backend of a live run is refused.
func TestHandover_KeepsLiveBackends(t *testing.T) {
	c := testConfig(t)
	g := HandoverState{Live: []LiveBackend{{Name: "sh", Kind: "exec", Run: "stays"}}}
	for _, row := range []struct {
		name, why string
		change    func(map[string]config.Backend)
	}{
		{"it is there", "", func(map[string]config.Backend) {}},
		{"another one goes", "", func(b map[string]config.Backend) { delete(b, "lines") }},
		{"its program goes", "", func(b map[string]config.Backend) {
			one := b["sh"]
			one.Missing, one.Command = "not found: sh", []string{"/nowhere/sh"}
			b["sh"] = one
		}},
		{"it goes", "backends.sh: not configured any more, and run stays", func(b map[string]config.Backend) { delete(b, "sh") }},
		{"it is another kind", `backends.sh.kind: "jsonl" was "exec", and run stays`, func(b map[string]config.Backend) {
			one := b["sh"]
			one.Kind = "jsonl"
			b["sh"] = one
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := c
			c.Backends = maps.Clone(c.Backends)
			row.change(c.Backends)
			err := Check(c, g)
			if (err == nil) != (row.why == "") || err != nil && !strings.Contains(err.Error(), row.why) {
				t.Errorf("error %v, want %q", err, row.why)
			}
		})
	}
}

// A run whose backend the next daemon doesn't know, or knows as something else,
// is seen to its own end, and told as what it was.
func TestAdoption_BackendUnconfigured(t *testing.T) {
	gone := func(b map[string]config.Backend) { delete(b, "sh") }
	other := func(b map[string]config.Backend) {
		one := b["sh"]
		one.Kind = "jsonl"
		b["sh"] = one
	}
	for _, row := range []struct {
		name   string
		change func(map[string]config.Backend)
		mute   bool // not even the kind is known
		exit   string
		want   outcome.Cause
		says   string // in the verdict
		text   string // of the answer
	}{
		{name: "gone, exit 0", change: gone, exit: "0", want: outcome.Completed, text: "before after"},
		{name: "gone, exit 3", change: gone, exit: "3", want: outcome.CLIError, says: "status 3"},
		{name: "another kind, exit 0", change: other, exit: "0", want: outcome.Completed, text: "before after"},
		{name: "gone, unknown, exit 0", change: gone, mute: true, exit: "0", want: outcome.Lost, says: "isn't configured any more"},
		{name: "gone, unknown, exit 3", change: gone, mute: true, exit: "3", want: outcome.CLIError, says: "status 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := testConfig(t)
			on := filepath.Join(t.TempDir(), "on")
			left, _, leaders := leftBy(t, c, "echo before; while [ ! -e "+on+" ]; do sleep 0.02; done; echo after; exit "+row.exit, "stays")
			if row.mute {
				forgetKind(t, c.StateDir, "stays")
			}
			next := c
			next.Backends = maps.Clone(c.Backends)
			row.change(next.Backends)
			d, err := open(t.Context(), next, Options{Logger: slog.New(slog.DiscardHandler), Log: func() LogState { return LogState{} }, Lock: left.Lock, Origin: &left.Origin})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := d.close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			r, err := d.runs.Get("stays")
			if err != nil || r.Record().State != run.Running || !lives(leaders["stays"]) {
				t.Fatal("it was ended")
			}
			if err := os.WriteFile(on, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			eventually(t, "its end", func() bool { return isClosed(r.Ended()) })
			if v := r.Verdict(); v.Cause != row.want || !strings.Contains(v.Message, row.says) {
				t.Errorf("%+v, want %s with %q", v, row.want, row.says)
			}
			text := ""
			for events := r.Follow(0); ; {
				e, err := events.Next(t.Context())
				if err != nil {
					events.Close()
					break
				}
				text += e.Text
			}
			if got := strings.Join(strings.Fields(text), " "); row.text != "" && got != row.text {
				t.Errorf("its answer is %q", got)
			}
		})
	}
}

// forgetKind makes a checkpoint one of a kind that this program doesn't know.
func forgetKind(t *testing.T, stateDir, id string) {
	t.Helper()
	for _, place := range store.Places(stateDir) {
		path := filepath.Join(place, "runs", id, "checkpoint.json")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), `"kind":"exec"`, `"kind":"of-tomorrow"`, 1)
		if changed == string(text) {
			t.Fatalf("no kind in %s", text)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// leftBy is a daemon that has made way with durable runs still live, of
// the script given each; their leaders are beside it.
func leftBy(t *testing.T, c config.Config, script string, ids ...string) (*HandedOver, spawn.Enforced, map[string]int) {
	t.Helper()
	d, err := open(t.Context(), c, Options{Logger: slog.New(slog.DiscardHandler), Log: func() LogState { return LogState{} }})
	if err != nil {
		if strings.Contains(err.Error(), "no cgroup v2 tree") {
			t.Skipf("this machine has no cgroup v2 tree to make groups in: %v", err)
		}
		t.Fatal(err)
	}
	leaders := map[string]int{}
	for _, id := range ids {
		asked, leave := context.WithCancel(t.Context())
		answered := make(chan struct{})
		pidFile := filepath.Join(t.TempDir(), "pid")
		go func() {
			defer close(answered)
			r := httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(chatBody("sh", "echo $$ >"+pidFile+"; "+script, false, ""))).WithContext(asked)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Run-Id", id)
			_ = d.ask("chat")(web.NewReply(httptest.NewRecorder()), web.WithInfo(r, &web.RequestInfo{Client: web.Anonymous}))
		}()
		eventually(t, id+" is born", func() bool {
			text, err := os.ReadFile(pidFile)
			leaders[id], _ = strconv.Atoi(strings.TrimSpace(string(text)))
			return err == nil && leaders[id] > 0
		})
		leave()
		<-answered
	}
	left := d.handOver(t.Context(), d.httpServer(), nil, &Handover{Check: func(_ context.Context, g HandoverState) error {
		if len(g.Live) != 1 || g.Live[0].Name != "sh" || g.Live[0].Kind != "exec" {
			t.Errorf("live: %+v", g.Live)
		}
		return nil
	}})
	if left == nil || left.Runs != len(ids) {
		t.Fatalf("left %+v", left)
	}
	return left, d.spawner.Enforced(), leaders
}

func lives(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// tripwire calls cut when a message is logged.
type tripwire struct {
	slog.Handler
	message string
	cut     func()
}

func (h tripwire) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.message {
		h.cut()
	}
	return nil
}

func (tripwire) Enabled(context.Context, slog.Level) bool { return true }

// A start that comes to nothing, whatever for, ends no run that it didn't start.
func TestOpen_RefusedLeavesRuns(t *testing.T) {
	c := testConfig(t)
	left, held, leaders := leftBy(t, c, "exec sleep 600", "one", "two")
	lock, origin := left.Lock, &left.Origin
	defer func() {
		if t.Failed() { // nothing of it may stay
			for _, pid := range leaders {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cpu := held.CPU != ""
	for _, row := range []struct {
		name, stopAt, why string
		change            func(*config.Config)
		never             bool // this host can hold it
	}{
		{name: "a stop when the groups are known", stopAt: "cgroup root"},
		{name: "a self-test that fails", stopAt: "cgroup root", why: "self-test", change: func(c *config.Config) { c.Isolation.SelfTest = true }},
		{name: "a stop among the adoptions", stopAt: "run adopted"},
		{name: "a limit that can't be held", why: "cpu_max", never: cpu, change: func(c *config.Config) {
			b := c.Backends["sh"]
			b.Limits.CPUMax.Cores = 1
			c.Backends["sh"] = b
		}},
		{name: "strict isolation", why: "strict", never: held.Memory == enforcedByKernel, change: func(c *config.Config) { c.Isolation.Mode = "strict" }},
		{name: "no such user", why: "nobody-of-this-name", change: func(c *config.Config) {
			b := c.Backends["sh"]
			b.User = "nobody-of-this-name"
			c.Backends["sh"] = b
		}},
		{name: "no such kind", why: "kind", change: func(c *config.Config) { c.Backends["x"] = config.Backend{Name: "x", Kind: "no-such"} }},
		{name: "a port that is taken", why: "listen", change: func(c *config.Config) { c.Listen = []string{taken.Addr().String()} }},
		{name: "no tokens", why: "tokens", change: func(c *config.Config) { c.Listen = []string{"0.0.0.0:0"} }},
	} {
		if row.never {
			t.Logf("%s: this host holds it", row.name)
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			c := c
			c.Backends = maps.Clone(c.Backends)
			if row.change != nil {
				row.change(&c)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			err := Run(ctx, c, Options{Logger: slog.New(tripwire{Handler: slog.DiscardHandler, message: row.stopAt, cut: stop}), Lock: lock, Origin: origin, Ready: func([]net.Addr) {
				t.Error("it serves")
				stop()
			}})
			lock = nil // closed by now
			if err == nil || !strings.Contains(err.Error(), row.why) {
				t.Errorf("error %v, want one with %q", err, row.why)
			}
			for id, pid := range leaders {
				if !lives(pid) {
					t.Errorf("%s was ended", id)
				}
			}
		})
	}
	d, err := open(t.Context(), c, Options{Logger: slog.New(slog.DiscardHandler), Log: func() LogState { return LogState{} }, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	for id, pid := range leaders {
		if r, err := d.runs.Get(id); err != nil || r.Record().State != run.Running || !lives(pid) {
			t.Errorf("%s is not adopted", id)
		}
	}
	if err := d.close(t.Context()); err != nil {
		t.Error(err)
	}
	for id, pid := range leaders {
		if lives(pid) {
			t.Errorf("%s lives on", id)
		}
	}
}
