package server

import (
	"context"
	"strings"
	"testing"

	"penstock/config"
)

func TestBackendNotYetProbedHasNoTime(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{"claude": {Name: "claude", Kind: "claude", Command: []string{"/bin/true"}}, "demo": {Name: "demo", Kind: "demo", Command: []string{"/bin/true", "demo"}}}}
	all, err := newAgents(c)
	if err != nil {
		t.Fatal(err)
	}
	p := newProbes(all, "v9", func(context.Context, []string, []string) (string, error) { return "2.1.0\n", nil })
	text, err := marshal(p.all())
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"name":"claude","state":"ready","version":""},{"name":"demo","state":"ready","version":"v9"}]`; string(text) != want {
		t.Errorf("before the probe: %s, want %s", text, want)
	}
	p.probe(t.Context(), "claude")
	p.probe(t.Context(), "demo")
	if text, err = marshal(p.all()); err != nil || !strings.Contains(string(text), `"version":"2.1.0","checked_at":"2`) {
		t.Errorf("after the probe: %s %v", text, err)
	}
}
