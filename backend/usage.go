package backend

import (
	"math"
	"strconv"
)

// Usage in OpenAI's words. A nil field is a figure that the CLI does not report,
// or not as a count can be: what is unknown is absent, never 0.
type Usage struct {
	PromptTokens     *int64 // cached ones included
	CompletionTokens *int64
	CachedTokens     *int64
	ReasoningTokens  *int64
	CostUSD          *float64 // as the CLI reports it
}

// countMax is the greatest count that JSON's readers agree about: 2^53.
const countMax = 1 << 53

// count is a number of tokens in a CLI's output: every adapter decodes its
// counts by it. The zero count is absent.
type count struct {
	n     int64
	state countState
}

type countState int

const (
	absent countState = iota
	known
	wrong // there, but no count: negative, a fraction, a string, too big
)

// UnmarshalJSON takes any JSON number that is a count, however it is written:
// 12, 12.0 and 1.2e1 are the same. It never fails: one strange figure must not
// silence the line it stands in.
func (c *count) UnmarshalJSON(raw []byte) error {
	*c = countOf(string(raw))
	return nil
}

func countOf(text string) count {
	if text == "null" {
		return count{}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > countMax || f != math.Trunc(f) {
		return count{state: wrong}
	}
	return count{int64(f), known}
}

// with adds what is counted apart from c. An absent part adds nothing; c itself
// must be known, and a wrong part makes the whole unknown.
func (c count) with(parts ...count) count {
	for _, p := range parts {
		switch {
		case p.state == absent:
		case p.state == wrong, c.state != known, p.n > countMax-c.n:
			return count{state: wrong}
		default:
			c.n += p.n
		}
	}
	return c
}

// minus is how far c has grown since before; unknown where it has shrunk.
func (c count) minus(before count) count {
	if c.state != known || before.state != known || c.n < before.n {
		return count{state: wrong}
	}
	return count{c.n - before.n, known}
}

// value is nil for a count that is not known.
func (c count) value() *int64 {
	if c.state != known {
		return nil
	}
	return &c.n
}

// some is true for a count that says that anything was used.
func (c count) some() bool { return c.state == known && c.n > 0 }

// total is the sum over several model calls: known when it is known of each.
type total struct {
	sum   count
	begun bool
}

func (t *total) add(c count) {
	switch {
	case !t.begun:
		t.sum, t.begun = c, true
	case c.state == known && t.sum.state == known:
		t.sum = t.sum.with(c)
	case c.state != absent || t.sum.state != absent:
		t.sum = count{state: wrong}
	}
}

// costMax bounds what is taken for a price, in US dollars.
const costMax = 1e9

// price is a cost that can be one, else nil.
func price(usd *float64) *float64 {
	if usd == nil || *usd < 0 || *usd > costMax {
		return nil
	}
	return usd
}

// tokens are the counts of a turn, from which a report is made.
type tokens struct{ prompt, completion, cached, reasoning count }

func (t tokens) words(cost *float64) Usage {
	return Usage{
		PromptTokens: t.prompt.value(), CompletionTokens: t.completion.value(),
		CachedTokens: t.cached.value(), ReasoningTokens: t.reasoning.value(), CostUSD: price(cost),
	}
}

// report is the event; none when the CLI says nothing, or that nothing was used:
// that is what most say of a model call that failed.
func (t tokens) report(cost *float64) []Event {
	if !t.prompt.some() && !t.completion.some() {
		return nil
	}
	words := t.words(cost)
	return []Event{{Kind: UsageReport, Usage: &words}}
}
