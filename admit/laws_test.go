package admit

import "fmt"

// use is what a client holds and what stays reserved for it, with one more ask
// of so many bytes where add is 1.
func (m *model) use(client string, add int, memory int64) (runs int, bytes, idle, idleBytes int64) {
	runs, bytes = add, memory
	for _, p := range m.people {
		if p.slot != nil && p.client == client {
			runs++
			bytes += p.memory
		}
	}
	reserved := int64(m.options.Clients[client].Reserved)
	return runs, bytes, max(0, reserved-int64(runs)), max(0, reserved*m.options.DefaultMemory-bytes)
}

// over says what would be passed if p started now, too; nil is nothing.
func (m *model) over(p *person) error {
	var runs, bytes, idle, idleBytes int64
	for client := range m.options.Clients {
		add, memory := 0, int64(0)
		if p != nil && p.client == client {
			add, memory = 1, p.memory
		}
		r, b, i, ib := m.use(client, add, memory)
		runs, bytes, idle, idleBytes = runs+int64(r), bytes+b, idle+i, idleBytes+ib
	}
	if most := int64(m.options.MaxRuns); most > 0 && runs+idle > most {
		return fmt.Errorf("%d runs and %d reserved slots, over %d", runs, idle, most)
	}
	if bytes+idleBytes > m.options.Budget {
		return fmt.Errorf("%d bytes and %d reserved ones, over %d", bytes, idleBytes, m.options.Budget)
	}
	return nil
}

// never tells whether p could not start even if it were alone.
func (m *model) never(p *person) bool {
	alone := &model{options: m.options, people: []*person{{client: p.client}}}
	return alone.over(p) != nil
}

func (m *model) capped(client string) bool {
	most := m.options.Clients[client].MaxRuns
	runs, _, _, _ := m.use(client, 0, 0)
	return most > 0 && runs >= most
}

// bound is how often a client's oldest ask may see others start: by their
// weights until its turn comes, and passMax times where it doesn't fit then.
func (m *model) bound(client string) int {
	weight := func(c string) int { return max(1, m.options.Clients[c].Weight) }
	most := passMax
	for other := range m.options.Clients {
		if other != client {
			most += weight(other)/weight(client) + 2
		}
	}
	return most
}

// idle is an ask that could start and does not, though no room is kept for an
// older one: a client at its cap must hold none back but itself.
func (m *model) idle(line map[string]*person, running int) error {
	if m.held && running > 0 {
		return nil
	}
	var could *person
	for client, p := range line {
		switch {
		case m.capped(client):
		case m.over(p) == nil:
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
			if m.never(p) {
				return fmt.Errorf("%s's ask of %d waits, and can never start", p.client, p.memory)
			}
			if line[p.client] == nil {
				line[p.client] = p
			}
			if most := m.bound(p.client); p.overtaken > most {
				return fmt.Errorf("%s was overtaken %d times, %d is the bound", p.client, p.overtaken, most)
			}
		}
	}
	if err := m.over(nil); err != nil {
		return err
	}
	for client, c := range m.options.Clients {
		if runs, _, _, _ := m.use(client, 0, 0); c.MaxRuns > 0 && runs > c.MaxRuns {
			return fmt.Errorf("%s has %d runs, and %d is its cap", client, runs, c.MaxRuns)
		}
	}
	if err := m.idle(line, running); err != nil {
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
