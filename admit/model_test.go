package admit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// step of a random history.
type step struct {
	Kind   int // 0, 1 and 2 ask, 3 cancels, 4 and 5 release, 6 holds starts back, 7 lets them in
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
	held    bool
}

func TestGate_Model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := Options{
			MaxRuns: rapid.IntRange(0, 4).Draw(rt, "max_runs"), Budget: rapid.Int64Range(4, 12).Draw(rt, "budget"),
			MaxWaiting: rapid.IntRange(0, 6).Draw(rt, "max_waiting"), MaxWait: time.Hour, Clients: map[string]Client{}, DefaultMemory: 1,
		}
		clients := rapid.IntRange(1, 4).Draw(rt, "clients")
		for i := range clients {
			o.Clients[fmt.Sprint("c", i)] = Client{
				MaxRuns: rapid.IntRange(0, 3).Draw(rt, "client's max_runs"), Weight: rapid.IntRange(0, 4).Draw(rt, "weight"),
			}
		}
		// The configuration holds what is reserved to the slots there are, and to
		// the client's own cap.
		slots := o.Budget
		if o.MaxRuns > 0 {
			slots = min(slots, int64(o.MaxRuns))
		}
		for i := range min(clients, 2) {
			name := fmt.Sprint("c", i)
			c := o.Clients[name]
			if r := rapid.Int64Range(0, 2).Draw(rt, "reserved"); r <= slots && (c.MaxRuns == 0 || int(r) <= c.MaxRuns) {
				c.Reserved = int(r)
				slots -= r
			}
			o.Clients[name] = c
		}
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				Kind: rapid.IntRange(0, 7).Draw(rt, "kind"), Client: rapid.IntRange(0, clients-1).Draw(rt, "client"),
				Memory: rapid.Int64Range(0, o.Budget+1).Draw(rt, "memory"), Pick: rapid.IntRange(0, 20).Draw(rt, "pick"),
			}
		}), 1, 80).Draw(rt, "steps")
		var failure error
		synctest.Test(t, func(t *testing.T) {
			m := &model{gate: New(o), options: o}
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
	m.hold(false)
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
	case 6, 7:
		m.hold(s.Kind == 6)
	default:
		p := &person{client: fmt.Sprint("c", s.Client), memory: s.Memory}
		pctx, cancel := context.WithCancel(ctx)
		p.cancel = cancel
		m.people = append(m.people, p)
		p.reply = ask(pctx, m.gate, Ask{Client: p.client, Memory: p.memory})
	}
}

func (m *model) hold(on bool) {
	m.held = on
	if on {
		m.gate.Pause("memory is short")
	} else {
		m.gate.Pause("")
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
			var refused *Refused
			if never := m.never(p); errors.As(r.err, &refused) && (refused.Reason == OverBudget) != never {
				return fmt.Errorf("%s's ask of %d: %w, and that it can never start is %v", p.client, p.memory, r.err, never)
			}
			continue
		}
		p.slot = r.slot
		// What is reserved for c0 takes nothing from the others.
		_, _, idle, _ := m.use(p.client, 0, 0)
		for client, h := range heads {
			if client != p.client && h.slot == nil && !m.capped(client) && idle == 0 && !m.held {
				h.overtaken++
			}
		}
	}
	return m.laws()
}
