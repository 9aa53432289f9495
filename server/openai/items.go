package openai

import (
	"hash/fnv"
	"slices"

	"penstock/backend"
	"penstock/server/dialect"
)

const (
	// callsMost is how many calls are open at a time, and held. Of more the oldest is told as
	// one of which no end is known.
	callsMost = 32
	// endedMost is how many ends of calls are remembered, for those that are told twice.
	endedMost = 64
)

// outputItems parts the steps of an answer into the output items of a response: the text, or
// the thinking, between two tool events, and each call of a tool. That depends on the steps
// alone, not on how they were put together or cut, so that an item has the same index in each
// reading.
type outputItems struct {
	to      itemSink
	next    int          // index of the next item
	text    backend.Kind // of the text that is open; 0 is none
	hasText bool         // a text of the answer has begun, which no thinking is
	calls   []*call      // that are open, in the order of their begin

	ended   []uint64 // hashes of the last ends
	endings int
}

// itemSink is told of items as they come. Between its begin and its end a text is the only
// one, and all texts are its own; calls overlap one another, and texts.
type itemSink interface {
	beginText(index int, s dialect.Step) error
	addText(s dialect.Step) error
	// endText is told what follows: nothing, or more of the answer.
	endText(last bool) error
	// beginCall may be told of a call that has ended as well.
	beginCall(c *call) error
	// inputCall is when a call's input has come that has begun without.
	inputCall(c *call) error
	endCall(c *call) error
}

// call is one call of a tool of the CLI's own.
type call struct {
	backend.Tool
	index int
}

// What a call's status is beside backend.Tool's own words.
const (
	toolCompleted  = "completed"
	toolFailed     = "failed"
	toolIncomplete = "incomplete" // no end of it is known
)

func hasEnded(t *backend.Tool) bool { return t.Status == toolCompleted || t.Status == toolFailed }

func (o *outputItems) step(s dialect.Step) error {
	if s.Kind == backend.ToolUse {
		return o.tool(s.Tool)
	}
	if s.Text == "" {
		return nil
	}
	if o.text != s.Kind {
		if err := o.begin(s); err != nil {
			return err
		}
	}
	return o.to.addText(s)
}

func (o *outputItems) begin(s dialect.Step) error {
	if err := o.closeText(false); err != nil {
		return err
	}
	o.text = s.Kind
	o.hasText = o.hasText || s.Kind == backend.Text
	o.next++
	return o.to.beginText(o.next-1, s)
}

func (o *outputItems) tool(t *backend.Tool) error {
	i := slices.IndexFunc(o.calls, func(c *call) bool {
		return c.ID == t.ID && (t.ID != "" || c.Name == t.Name && hasEnded(t))
	})
	switch {
	case i < 0 && o.isRepeated(t):
		return nil
	case i >= 0 && !hasEnded(t): // told once more; what it is called with may come late
		c := o.calls[i]
		if c.Input != "" || t.Input == "" {
			return nil
		}
		c.Input = t.Input
		return o.to.inputCall(c)
	}
	if err := o.closeText(false); err != nil {
		return err
	}
	if i < 0 {
		if len(o.calls) == callsMost {
			if err := o.endCall(0, toolIncomplete, ""); err != nil {
				return err
			}
		}
		c := &call{Tool: *t, index: o.next}
		o.next++
		i = len(o.calls)
		o.calls = append(o.calls, c)
		if err := o.to.beginCall(c); err != nil {
			return err
		}
	}
	if !hasEnded(t) {
		return nil
	}
	if c := o.calls[i]; c.Input == "" && t.Input != "" {
		c.Input = t.Input
		if err := o.to.inputCall(c); err != nil {
			return err
		}
	}
	o.remember(t)
	return o.endCall(i, t.Status, t.Output)
}

func (o *outputItems) endCall(i int, status, output string) error {
	c := o.calls[i]
	c.Status, c.Output = status, output
	o.calls = slices.Delete(o.calls, i, i+1)
	return o.to.endCall(c)
}

func (o *outputItems) closeText(last bool) error {
	if o.text == 0 {
		return nil
	}
	o.text = 0
	return o.to.endText(last)
}

// end ends what is open: nothing follows. An answer without a text has an empty one: the Agents SDK
// for JavaScript asks again, ten times, where there is no message (@openai/agents 0.20).
func (o *outputItems) end() error {
	if !o.hasText {
		if err := o.begin(dialect.Step{Kind: backend.Text}); err != nil {
			return err
		}
	}
	if err := o.closeText(true); err != nil {
		return err
	}
	return o.endCalls()
}

func (o *outputItems) endCalls() error {
	for len(o.calls) > 0 {
		if err := o.endCall(0, toolIncomplete, ""); err != nil {
			return err
		}
	}
	return nil
}

// isOpen tells whether the item of an index is a call that has begun and not ended.
func (o *outputItems) isOpen(index int) bool {
	return slices.ContainsFunc(o.calls, func(c *call) bool { return c.index == index })
}

// isRepeated tells an end that was told before. One without an id may be another's.
func (o *outputItems) isRepeated(t *backend.Tool) bool {
	return t.ID != "" && hasEnded(t) && slices.Contains(o.ended, endHash(t))
}

func (o *outputItems) remember(t *backend.Tool) {
	switch {
	case t.ID == "":
	case len(o.ended) < endedMost:
		o.ended = append(o.ended, endHash(t))
	default:
		o.ended[o.endings%endedMost] = endHash(t)
		o.endings++
	}
}

func endHash(t *backend.Tool) uint64 {
	h := fnv.New64a()
	for _, part := range []string{t.ID, t.Status, t.Output} {
		_, _ = h.Write([]byte(part)) // a hash takes all
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}
