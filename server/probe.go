package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"penstock/run"
	"penstock/server/web"
)

const (
	probeEvery = 10 * time.Minute
	probeBound = 30 * time.Second
)

// backendState is one line of /health's backends.
type backendState struct {
	Name    string     `json:"name"`
	State   string     `json:"state"` // ready, missing, error
	Version string     `json:"version"`
	Checked *time.Time `json:"checked_at,omitempty"` // nil until it was first probed
	Error   string     `json:"-"`
}

// probes asks each CLI for its version in the background, one at a time and
// outside of the slots. A CLI that can't tell its version is still tried.
type probes struct {
	backends backends
	own      string // our version: the demo backend is the daemon's own program
	ask      func(ctx context.Context, argv, env []string, u *run.User) (string, error)
	mu       sync.Mutex
	states   map[string]backendState
}

func newProbes(a backends, own string, ask func(ctx context.Context, argv, env []string, u *run.User) (string, error)) *probes {
	p := &probes{backends: a, own: own, ask: ask, states: map[string]backendState{}}
	for name, one := range a {
		p.states[name] = p.unprobed(name, one)
	}
	return p
}

// unprobed is what is known without asking.
func (p *probes) unprobed(name string, a *configuredBackend) backendState {
	s := backendState{Name: name, State: stateOf(a)}
	if a.config.Kind == "demo" {
		s.Version = p.own
	}
	return s
}

func stateOf(a *configuredBackend) string {
	if a.config.Missing != "" {
		return "missing"
	}
	return "ready"
}

func (p *probes) loop(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		for _, name := range p.backends.names() {
			if ctx.Err() != nil {
				return
			}
			p.probe(ctx, name)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *probes) probe(ctx context.Context, name string) {
	a := p.backends[name]
	state := p.unprobed(name, a)
	if a.config.Missing == "" && hasVersion(a.config.Kind) {
		ctx, cancel := context.WithTimeout(ctx, probeBound)
		version, err := p.ask(ctx, a.config.Command, a.env, a.user)
		cancel()
		state.Version = web.Clip(strings.TrimSpace(version), 100)
		if err != nil {
			state.State, state.Error = "error", err.Error()
			state.Version = p.version(name) // as it was: a busy host makes nothing older
		}
	}
	now := time.Now().UTC()
	state.Checked = &now
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states[name] = state
}

// hasVersion: a program of unknown kind may do anything when it is started.
func hasVersion(kind string) bool {
	switch kind {
	case "exec", "jsonl", "acp", "demo":
		return false
	}
	return true
}

// version is what a backend's CLI said when it was last asked; "" is unknown.
func (p *probes) version(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states[name].Version
}

// all are the states in a fixed order.
func (p *probes) all() []backendState {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []backendState{}
	for _, name := range p.backends.names() {
		out = append(out, p.states[name])
	}
	return out
}
