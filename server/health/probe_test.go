package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"penstock/image"
	"penstock/run"
	"penstock/server/web"
)

func TestProbes_NotYetAsked(t *testing.T) {
	p := NewProbes([]Target{{Name: "claude", Probe: run.Probe{Argv: []string{"/bin/true"}}, HasVersion: true}, {Name: "demo", Probe: run.Probe{Argv: []string{"/bin/true", "demo"}}, Version: "v9"}},
		func(context.Context, run.Probe) (string, error) { return "2.1.0\n", nil })
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

// What is in an image that is being unpacked can be asked soon.
func TestProbes_AskedSoon(t *testing.T) {
	var err error
	p := NewProbes([]Target{{Name: "claude", HasVersion: true}, {Name: "codex", HasVersion: true}}, func(_ context.Context, p run.Probe) (string, error) { return "", err })
	for why, soon := range map[error]bool{errors.New("x"): false, fmt.Errorf("image x: %w", image.ErrUnpacking): true} {
		if err = why; p.AskAll(t.Context()) != soon {
			t.Errorf("%v: want %v", why, soon)
		}
	}
}
