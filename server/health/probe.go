package health

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"penstock/image"
	"penstock/run"
	"penstock/server/web"
)

const (
	probeEvery = 10 * time.Minute
	probeSoon  = 10 * time.Second // while an image is unpacked
	probeBound = 30 * time.Second
)

// BackendState is one line of /health's backends.
type BackendState struct {
	Name    string     `json:"name"`
	State   string     `json:"state"` // ready, missing, error
	Version string     `json:"version"`
	Checked *time.Time `json:"checked_at,omitempty"` // nil until it was first probed
	Error   string     `json:"-"`

	configured bool   // by the operator: else it is one of those known by default
	program    string // without its directory: /health is open to all and tells no paths
}

// Target is a backend to be asked for its version.
type Target struct {
	Name string
	run.Probe
	Configured bool   // by the operator
	Missing    bool   // its program
	HasVersion bool   // it can be asked: a program of unknown kind may do anything when it is started
	Version    string // what is known without asking
}

// AskVersion runs a program for its version.
type AskVersion func(ctx context.Context, p run.Probe) (string, error)

// Probes asks each CLI for its version in the background, one at a time and
// outside of the slots. A CLI that can't tell its version is still tried.
type Probes struct {
	targets []Target // in the order in which /health has them
	ask     AskVersion
	mu      sync.Mutex
	states  map[string]BackendState
}

func NewProbes(targets []Target, ask AskVersion) *Probes {
	p := &Probes{targets: targets, ask: ask, states: map[string]BackendState{}}
	for _, t := range targets {
		p.states[t.Name] = t.unprobed()
	}
	return p
}

// unprobed is what is known without asking.
func (t Target) unprobed() BackendState {
	s := BackendState{Name: t.Name, State: "ready", Version: t.Version, configured: t.Configured, program: t.Name}
	if t.Missing {
		s.State = "missing"
	}
	if len(t.Argv) > 0 {
		s.program = t.Argv[0][strings.LastIndexByte(t.Argv[0], '/')+1:]
	}
	return s
}

func (p *Probes) Loop(ctx context.Context) {
	for {
		wait := probeEvery
		if p.AskAll(ctx) {
			wait = probeSoon
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// probe asks one; true is that it can be asked soon.
func (p *Probes) probe(ctx context.Context, t Target) (soon bool) {
	state := t.unprobed()
	if !t.Missing && t.HasVersion {
		ctx, cancel := context.WithTimeout(ctx, probeBound)
		version, err := p.ask(ctx, t.Probe)
		cancel()
		soon = errors.Is(err, image.ErrUnpacking)
		state.Version = web.Clip(strings.TrimSpace(version), 100)
		if err != nil {
			state.State, state.Error = "error", err.Error()
			state.Version = p.Version(t.Name) // as it was: a busy host makes nothing older
		}
	}
	now := time.Now().UTC()
	state.Checked = &now
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states[t.Name] = state
	return soon
}

// AskAll asks each once, and tells whether one couldn't be asked yet.
func (p *Probes) AskAll(ctx context.Context) (again bool) {
	for _, t := range p.targets {
		if ctx.Err() != nil {
			return false
		}
		soon := p.probe(ctx, t)
		again = again || soon
	}
	return again
}

// Version is what a backend's CLI said when it was last asked; "" is unknown.
func (p *Probes) Version(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states[name].Version
}

// All are the states in a fixed order.
func (p *Probes) All() []BackendState {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []BackendState{}
	for _, t := range p.targets {
		out = append(out, p.states[t.Name])
	}
	return out
}
