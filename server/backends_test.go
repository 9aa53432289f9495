package server

import (
	"strings"
	"testing"

	"penstock/config"
	"penstock/server/web"
)

func TestConfiguredBackend_Effort(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{}}
	for _, kind := range []string{"claude", "codex", "pi", "demo"} {
		c.Backends[kind] = config.Backend{Name: kind, Kind: kind, Command: []string{"/bin/true"}, Permissions: "bypass"}
	}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ backend, effort, names string }{
		{"claude", "", ""}, {"claude", "max", ""}, {"claude", "minimal", ""}, {"claude", "huge", "low, medium, high, xhigh, max"},
		{"codex", "xhigh", ""}, {"codex", "max", ""}, {"codex", "huge", "none, minimal, low, medium, high, xhigh"},
		{"pi", "off", ""}, {"pi", "none", "off, minimal, low"},
		{"demo", "high", ""}, {"demo", "huge", "none, off, minimal, low, medium, high, xhigh, max"},
	}
	for _, tt := range tests {
		err := all[tt.backend].effort(tt.effort)
		if tt.names == "" {
			if err != nil {
				t.Errorf("%s, effort %q: %v", tt.backend, tt.effort, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s takes effort %q", tt.backend, tt.effort)
			continue
		}
		if e := web.AsError(err); e.Status != 400 || e.Param != "effort" || !strings.Contains(e.Message, tt.names) {
			t.Errorf("%s, effort %q: %+v, want a 400 naming %s", tt.backend, tt.effort, e, tt.names)
		}
	}
}

func TestChat_Effort(t *testing.T) {
	s := serve(t, nil)
	for _, stream := range []bool{false, true} {
		if r := s.chat("lines", `echo '{"text":"x"}'`, stream, `,"effort":"huge"`); r.status != 400 || r.err == nil || r.err.Param == nil || *r.err.Param != "effort" {
			t.Errorf("an unknown effort: %d %s", r.status, r.body)
		}
	}
	r := s.chat("sh", "echo x", false, `,"reasoning_effort":"huge"`)
	if r.status != 200 || r.header.Get("X-Penstock-Ignored") != "reasoning_effort" {
		t.Errorf("effort where there is none: %d, ignored %q", r.status, r.header.Get("X-Penstock-Ignored"))
	}
}

func TestConfiguredBackend_Missing(t *testing.T) {
	s := serve(t, nil)
	r := s.chat("absent", "x", false, "")
	want := "backend absent: not found: absent (hint: install it, or set backends.absent.command)"
	if r.status != 503 || r.err == nil || r.err.Message != want {
		t.Errorf("%d %s, want %q", r.status, r.body, want)
	}
}

func TestConfiguredBackend_EffortNone(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{}}
	for _, kind := range []string{"claude", "codex", "pi"} {
		c.Backends[kind] = config.Backend{Name: kind, Kind: kind, Command: []string{"/bin/true"}, Permissions: "bypass"}
	}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"claude": "", "codex": "none", "pi": "off"} {
		if got, err := all[name].effortWord(effortNone); got != want || err != nil {
			t.Errorf("%s: %q %v, want %q", name, got, err, want)
		}
		if _, err := all[name].effortWord("huge"); err == nil {
			t.Errorf("%s takes effort huge", name)
		}
	}
}
