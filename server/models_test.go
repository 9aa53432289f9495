package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/admit"
	"penstock/backend/kinds"
	"penstock/config"
	"penstock/run"
	"penstock/server/health"
)

// The demo backend is the daemon's own program; a program of unknown kind isn't asked.
func TestBackends_ProbeTargets(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{
		"claude": {Name: "claude", Kind: "claude", Command: []string{"/bin/true"}}, "demo": {Name: "demo", Kind: "demo", Missing: "gone"},
		"any": {Name: "any", Kind: "exec", Command: []string{"/bin/true"}, Configured: true},
	}}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range all.probeTargets("v9") {
		got = append(got, fmt.Sprint(b.Name, " ", b.Version, " ", b.HasVersion, b.Missing, b.Configured))
	}
	if want := []string{"any  false false true", "claude  true false false", "demo v9 false true false"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a model's CLI is, and whether that is known to work, from memory.
func TestModels_Versions(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{"claude": {Name: "claude", Kind: "claude", Models: []string{"opus"}, Command: []string{"/bin/true"}}, "any": {Name: "any", Kind: "exec", Command: []string{"/bin/true"}}}}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	said, fails := "2.1.0 (Claude Code)", error(nil)
	d := &daemon{backends: all, probes: health.NewProbes(all.probeTargets("v9"), func(context.Context, run.Probe) (string, error) { return said, fails })}
	tell := func() []model {
		d.probes.AskAll(t.Context())
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

func TestClients_MaxRuns(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Clients = map[string]config.Client{"anonymous": {MaxRuns: 1, Weight: 1}}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	for range 2 {
		ended.Go(func() {
			if resp, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "sleep 300", false, "")); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	eventually(t, "one runs and one waits", func() bool {
		q := s.healthNow().Queue
		if q.Running > 1 {
			t.Errorf("%d runs of a client with max_runs = 1", q.Running)
			return true
		}
		return q.Running == 1 && q.Waiting == 1
	})
	cancel()
	ended.Wait()
}

func TestGateClients(t *testing.T) {
	c := config.Config{Clients: map[string]config.Client{"1000": {MaxRuns: 2, Weight: 1}, "alice": {MaxRuns: 3, ReservedRuns: 1, Weight: 7}}}
	want := map[string]admit.Client{"uid:1000": {MaxRuns: 2, Weight: 1}, "alice": {MaxRuns: 3, Reserved: 1, Weight: 7}}
	if diff := cmp.Diff(want, gateClients(c)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}
