package server

import (
	"context"
	"errors"
	"strings"
	"testing"

	"penstock/backend/kinds"
	"penstock/config"
	"penstock/run"
	"penstock/server/web"
)

func TestBackendNotYetProbedHasNoTime(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{"claude": {Name: "claude", Kind: "claude", Command: []string{"/bin/true"}}, "demo": {Name: "demo", Kind: "demo", Command: []string{"/bin/true", "demo"}}}}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	p := newProbes(all, "v9", func(context.Context, []string, []string, *run.User) (string, error) { return "2.1.0\n", nil })
	text, err := web.Marshal(p.all())
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"name":"claude","state":"ready","version":""},{"name":"demo","state":"ready","version":"v9"}]`; string(text) != want {
		t.Errorf("before the probe: %s, want %s", text, want)
	}
	p.probe(t.Context(), "claude")
	p.probe(t.Context(), "demo")
	if text, err = web.Marshal(p.all()); err != nil || !strings.Contains(string(text), `"version":"2.1.0","checked_at":"2`) {
		t.Errorf("after the probe: %s %v", text, err)
	}
}

// What a model's CLI is, and whether that is known to work, from memory.
func TestModelsTellVersions(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{"claude": {Name: "claude", Kind: "claude", Models: []string{"opus"}, Command: []string{"/bin/true"}}, "any": {Name: "any", Kind: "exec", Command: []string{"/bin/true"}}}}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	said, fails := "2.1.0 (Claude Code)", error(nil)
	d := &daemon{backends: all, probes: newProbes(all, "v9", func(context.Context, []string, []string, *run.User) (string, error) { return said, fails })}
	tell := func() []model {
		d.probes.probe(t.Context(), "claude")
		d.probes.probe(t.Context(), "any")
		return d.models()
	}
	for _, m := range d.models() {
		if m.Version != "" || m.TooOld {
			t.Errorf("before it was asked: %+v", m)
		}
	}
	for _, m := range tell() {
		if ours := strings.HasPrefix(m.ID, "claude"); m.TooOld != ours || (m.Version == said) != ours || (m.Oldest == kinds.Oldest("claude")) != ours {
			t.Errorf("%+v", m)
		}
	}
	said, fails = "", errors.New("no answer within 10s")
	if m := tell()[1]; !m.TooOld || m.Version != "2.1.0 (Claude Code)" {
		t.Errorf("a probe that failed made it unknown: %+v", m)
	}
	said, fails = "9.0.0 (Claude Code)", nil
	if m := tell()[1]; m.TooOld || m.Version != said {
		t.Errorf("after an update: %+v", m)
	}
}
