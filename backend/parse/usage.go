package parse

import (
	"math"
	"strconv"

	"penstock/backend"
)

// CountMax is the greatest count that JSON's readers agree about: 2^53.
const CountMax = 1 << 53

// Count is a number of tokens in a CLI's output: every backend decodes its
// counts by it. The zero count is absent.
type Count struct {
	n     int64
	State countState
}

type countState int

const (
	absent countState = iota
	Known
	wrong // there, but no count: negative, a fraction, a string, too big
)

// UnmarshalJSON takes any JSON number that is a count, however it is written:
// 12, 12.0 and 1.2e1 are the same. It never fails: one strange figure must not
// silence the line it stands in.
func (c *Count) UnmarshalJSON(raw []byte) error {
	*c = CountOf(string(raw))
	return nil
}

func CountOf(text string) Count {
	if text == "null" {
		return Count{}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > CountMax || f != math.Trunc(f) {
		return Count{State: wrong}
	}
	return Count{int64(f), Known}
}

// With adds what is counted apart from c. An absent part adds nothing; c itself
// must be known, and a wrong part makes the whole unknown.
func (c Count) With(parts ...Count) Count {
	for _, p := range parts {
		switch {
		case p.State == absent:
		case p.State == wrong, c.State != Known, p.n > CountMax-c.n:
			return Count{State: wrong}
		default:
			c.n += p.n
		}
	}
	return c
}

// Minus is how far c has grown since before; unknown where it has shrunk.
func (c Count) Minus(before Count) Count {
	if c.State != Known || before.State != Known || c.n < before.n {
		return Count{State: wrong}
	}
	return Count{c.n - before.n, Known}
}

// value is nil for a count that is not known.
func (c Count) value() *int64 {
	if c.State != Known {
		return nil
	}
	return &c.n
}

// Some is true for a count that says that anything was used.
func (c Count) Some() bool { return c.State == Known && c.n > 0 }

// Total is the sum over several model calls: known when it is known of each.
type Total struct {
	Sum   Count
	begun bool
}

func (t *Total) Add(c Count) {
	switch {
	case !t.begun:
		t.Sum, t.begun = c, true
	case c.State == Known && t.Sum.State == Known:
		t.Sum = t.Sum.With(c)
	case c.State != absent || t.Sum.State != absent:
		t.Sum = Count{State: wrong}
	}
}

// costMax bounds what is taken for a price, in US dollars.
const costMax = 1e9

// Price is a cost that can be one, else nil.
func Price(usd *float64) *float64 {
	if usd == nil || *usd < 0 || *usd > costMax {
		return nil
	}
	return usd
}

// Tokens are the counts of a turn, from which a report is made.
type Tokens struct{ Prompt, Completion, Cached, Reasoning Count }

func (t Tokens) Usage(cost *float64) backend.Usage {
	return backend.Usage{
		PromptTokens: t.Prompt.value(), CompletionTokens: t.Completion.value(),
		CachedTokens: t.Cached.value(), ReasoningTokens: t.Reasoning.value(), CostUSD: Price(cost),
	}
}

// Report is the event; none when the CLI says nothing, or that nothing was used:
// that is what most say of a model call that failed.
func (t Tokens) Report(cost *float64) []backend.Event {
	if !t.Prompt.Some() && !t.Completion.Some() {
		return nil
	}
	words := t.Usage(cost)
	return []backend.Event{{Kind: backend.UsageReport, Usage: &words}}
}
