package openai

import (
	"penstock/server/dialect"
)

// outcomesMax bounds the calls that are held until it is their turn, in bytes.
const outcomesMax = 256 << 10

// outcomes tells how calls ended whose begin has come: an item of an answer is written where
// it begins, and has what came of it. For that a second reading goes ahead. Calls that end
// on its way to another's end are kept, as long as there is room; where one of the rest is asked
// for, a third reading goes for it, and so on. None begins twice, so that each reads an answer
// once, and no more are needed than calls are open at a time: each reading but the first is for a
// call that lies between begin and end of one that each reading before has gone for.
type outcomes struct {
	again dialect.Steps
	ahead []*lookahead
	kept  map[int]*call
	size  int
}

// of is the call of an index as it is at its end.
func (o *outcomes) of(index int) (*call, error) {
	if c := o.take(index); c != nil {
		return c, nil
	}
	l := o.lookahead(index)
	l.wanted = index
	for l.found == nil {
		s, ok, err := l.steps.Next()
		if err != nil {
			return nil, err
		}
		if ok {
			err = l.items.step(s)
		} else {
			err = l.items.end()
		}
		if err != nil {
			return nil, err
		}
		if !ok && l.found == nil {
			return nil, nil // there is no such call
		}
	}
	c := l.found
	l.found = nil
	return c, nil
}

func (o *outcomes) take(index int) *call {
	c := o.kept[index]
	if c != nil {
		delete(o.kept, index)
		o.size -= sizeOf(c)
	}
	return c
}

// lookahead is the reading that has come furthest of those that have not passed the end of
// the call; else one more.
func (o *outcomes) lookahead(index int) *lookahead {
	var best *lookahead
	for _, l := range o.ahead {
		if !l.passed(index) && (best == nil || l.items.next > best.items.next) {
			best = l
		}
	}
	if best == nil {
		best = &lookahead{all: o, steps: o.again()}
		best.items.to = best
		o.ahead = append(o.ahead, best)
	}
	return best
}

// keep holds a call, if need be in the place of those that come later.
func (o *outcomes) keep(c *call) {
	if o.kept == nil {
		o.kept = map[int]*call{}
	}
	if o.kept[c.index] != nil {
		return
	}
	o.kept[c.index] = c
	o.size += sizeOf(c)
	for o.size > outcomesMax {
		last := c.index
		for index := range o.kept {
			last = max(last, index)
		}
		o.take(last)
	}
}

func sizeOf(c *call) int { return 256 + len(c.ID) + len(c.Name) + len(c.Input) + len(c.Output) }

// lookahead is one reading that goes ahead.
type lookahead struct {
	all    *outcomes
	steps  dialect.Reading
	items  outputItems
	wanted int
	found  *call
}

// passed tells that the end of the call lies behind.
func (l *lookahead) passed(index int) bool { return index < l.items.next && !l.items.isOpen(index) }

func (l *lookahead) beginText(int, dialect.Step) error { return nil }
func (l *lookahead) addText(dialect.Step) error        { return nil }
func (l *lookahead) endText(bool) error                { return nil }
func (l *lookahead) beginCall(*call) error             { return nil }
func (l *lookahead) inputCall(*call) error             { return nil }

func (l *lookahead) endCall(c *call) error {
	switch {
	case c.index == l.wanted:
		l.found = c
	case c.index > l.wanted:
		l.all.keep(c)
	}
	return nil
}
