package admit

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// step of a random history.
type step struct {
	Kind   int // 0, 1 and 2 ask, 3 cancels, 4 and 5 release
	Client int
	Memory int64
	Pick   int
}

// person is one ask as the model sees it.
type person struct {
	client    string
	memory    int64
	cancel    context.CancelFunc
	reply     chan reply
	slot      *Slot
	over      bool // cancelled, refused or released
	overtaken int  // grants to others while it headed its line
}

type model struct {
	gate    *Gate
	options Options
	people  []*person
	clients int
}

func TestGateAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := Options{
			MaxRuns: rapid.IntRange(0, 4).Draw(rt, "max_runs"), Budget: rapid.Int64Range(4, 12).Draw(rt, "budget"),
			MaxWaiting: rapid.IntRange(0, 6).Draw(rt, "max_waiting"), MaxWait: time.Hour, ClientRuns: map[string]int{},
		}
		clients := rapid.IntRange(1, 4).Draw(rt, "clients")
		for i := range clients {
			o.ClientRuns[fmt.Sprint("c", i)] = rapid.IntRange(0, 3).Draw(rt, "client's max_runs")
		}
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				Kind: rapid.IntRange(0, 5).Draw(rt, "kind"), Client: rapid.IntRange(0, clients-1).Draw(rt, "client"),
				Memory: rapid.Int64Range(0, o.Budget).Draw(rt, "memory"), Pick: rapid.IntRange(0, 20).Draw(rt, "pick"),
			}
		}), 1, 80).Draw(rt, "steps")
		var failure error
		synctest.Test(t, func(t *testing.T) {
			m := &model{gate: New(o), options: o, clients: clients}
			failure = m.play(t.Context(), steps)
		})
		if failure != nil {
			rt.Fatal(failure)
		}
	})
}

func (m *model) play(ctx context.Context, steps []step) (err error) {
	for i, s := range steps {
		m.apply(ctx, s)
		if e := m.check(); e != nil && err == nil {
			err = fmt.Errorf("step %d %+v: %w", i, s, e)
		}
	}
	// Everyone who still waits must be served by releases alone.
	for range len(m.people) + 1 {
		if p := m.choose(0, func(p *person) bool { return p.slot != nil }); p != nil {
			m.release(p)
		}
		if e := m.check(); e != nil && err == nil {
			err = fmt.Errorf("at the end: %w", e)
		}
	}
	if p := m.choose(0, func(p *person) bool { return !p.over }); p != nil && err == nil {
		err = fmt.Errorf("%s's ask of %d was never served", p.client, p.memory)
	}
	for _, p := range m.people {
		p.cancel()
	}
	return err
}

func (m *model) apply(ctx context.Context, s step) {
	switch s.Kind {
	case 3:
		if p := m.choose(s.Pick, func(p *person) bool { return !p.over && p.slot == nil }); p != nil {
			p.cancel()
		}
	case 4, 5:
		if p := m.choose(s.Pick, func(p *person) bool { return p.slot != nil }); p != nil {
			m.release(p)
		}
	default:
		p := &person{client: fmt.Sprint("c", s.Client), memory: s.Memory}
		pctx, cancel := context.WithCancel(ctx)
		p.cancel = cancel
		m.people = append(m.people, p)
		p.reply = ask(m.gate, pctx, Ask{Client: p.client, Memory: p.memory})
	}
}

func (m *model) release(p *person) {
	p.slot.Release()
	p.slot, p.over = nil, true
}

func (m *model) choose(n int, ok func(*person) bool) *person {
	var fit []*person
	for _, p := range m.people {
		if ok(p) {
			fit = append(fit, p)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[n%len(fit)]
}

// check takes in what the gate decided since the last step and holds it against the laws.
func (m *model) check() error {
	heads := map[string]*person{}
	for _, p := range m.people {
		if !p.over && p.slot == nil && heads[p.client] == nil {
			heads[p.client] = p
		}
	}
	for _, p := range m.people {
		if p.over || p.slot != nil {
			continue
		}
		r, ok := decided(p.reply)
		switch {
		case !ok:
			continue
		case r.err != nil:
			p.over = true
			continue
		}
		p.slot = r.slot
		for client, h := range heads {
			if client != p.client && h.slot == nil && !m.capped(client) {
				h.overtaken++
			}
		}
	}
	return m.laws()
}

func (m *model) runs(client string) int {
	n := 0
	for _, p := range m.people {
		if p.slot != nil && p.client == client {
			n++
		}
	}
	return n
}

func (m *model) capped(client string) bool {
	most := m.options.ClientRuns[client]
	return most > 0 && m.runs(client) >= most
}

// idle is an ask that could start and does not, though no room is kept for an
// older one: a client at its cap must hold nobody back but itself.
func (m *model) idle(line map[string]*person, running int, reserved int64) error {
	if m.options.MaxRuns > 0 && running >= m.options.MaxRuns {
		return nil
	}
	var could *person
	for client, p := range line {
		switch fits := p.memory <= m.options.Budget-reserved; {
		case m.capped(client):
		case fits:
			could = p
		case p.overtaken >= passMax:
			return nil
		}
	}
	if could != nil {
		return fmt.Errorf("%s's ask of %d waits beside room for it", could.client, could.memory)
	}
	return nil
}

func (m *model) laws() error {
	var reserved int64
	running, waiting := 0, 0
	line := map[string]*person{}
	for _, p := range m.people {
		switch {
		case p.slot != nil:
			running++
			reserved += p.memory
			if first := line[p.client]; first != nil {
				return fmt.Errorf("%s: an ask of %d was served before an older one of %d", p.client, p.memory, first.memory)
			}
		case !p.over:
			waiting++
			if line[p.client] == nil {
				line[p.client] = p
			}
			if most := passMax + m.clients; p.overtaken > most {
				return fmt.Errorf("%s was overtaken %d times, %d is the bound", p.client, p.overtaken, most)
			}
		}
	}
	if m.options.MaxRuns > 0 && running > m.options.MaxRuns || reserved > m.options.Budget {
		return fmt.Errorf("%d runs and %d bytes, over %d and %d", running, reserved, m.options.MaxRuns, m.options.Budget)
	}
	for client, most := range m.options.ClientRuns {
		if n := m.runs(client); most > 0 && n > most {
			return fmt.Errorf("%s has %d runs, and %d is its cap", client, n, most)
		}
	}
	if err := m.idle(line, running, reserved); err != nil {
		return err
	}
	if s := m.gate.Stats(); s.Running != running || s.Reserved != reserved || s.Waiting != waiting {
		return fmt.Errorf("the gate counts %+v; there are %d runs with %d bytes, and %d wait", s, running, reserved, waiting)
	}
	if waiting > 0 && running == 0 {
		return fmt.Errorf("%d wait and nothing runs", waiting)
	}
	return nil
}
