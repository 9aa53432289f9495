package server

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/config"
	"penstock/outcome"
	"penstock/run"
	"penstock/run/store"
)

// A successor that would not know the backend of a live run is refused.
func TestHandoverKeepsTheBackendsOfLiveRuns(t *testing.T) {
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
func TestRunOutlivesItsBackend(t *testing.T) {
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
			r, ok := d.runs.Get("stays")
			if !ok || r.Record().State != run.Running || !lives(leaders["stays"]) {
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
