package health

import (
	"context"
	"strings"
	"testing"

	"penstock/run"
	"penstock/server/web"
)

func TestProbes_NotYetAsked(t *testing.T) {
	p := NewProbes([]Target{{Name: "claude", Argv: []string{"/bin/true"}, HasVersion: true}, {Name: "demo", Argv: []string{"/bin/true", "demo"}, Version: "v9"}},
		func(context.Context, []string, []string, *run.User) (string, error) { return "2.1.0\n", nil })
	text, err := web.Marshal(p.All())
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"name":"claude","state":"ready","version":""},{"name":"demo","state":"ready","version":"v9"}]`; string(text) != want {
		t.Errorf("before the probe: %s, want %s", text, want)
	}
	p.AskAll(t.Context())
	if text, err = web.Marshal(p.All()); err != nil || !strings.Contains(string(text), `"version":"2.1.0","checked_at":"2`) {
		t.Errorf("after the probe: %s %v", text, err)
	}
}
