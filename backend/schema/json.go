package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// limits are what a JSON text may be beside its length.
type limits struct {
	depth  int // of arrays and objects
	values int
}

const (
	// numberMax bounds a number's digits and exponentMax its exponent: a float64 has
	// 17 and 308, and exact arithmetic with more has no bound.
	numberMax   = 128
	exponentMax = 400
)

// syntaxError is where a text stops being JSON, or JSON that is taken.
type syntaxError struct {
	before  string // the text up to there
	problem string
}

func (e *syntaxError) Error() string {
	start := strings.LastIndexByte(e.before, '\n') + 1
	return fmt.Sprintf("line %d, column %d: %s", strings.Count(e.before, "\n")+1, utf8.RuneCountInString(e.before[start:])+1, e.problem)
}

// parse gives the one value that text is. Numbers keep their digits.
func parse(text string, l limits) (any, error) {
	p := parser{text: text, limits: l}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.at < len(text) {
		return nil, p.fail("%s after the end of the JSON", p.here())
	}
	return v, nil
}

// parser reads strict JSON (RFC 8259) that has no key twice.
type parser struct {
	text   string
	at     int
	seen   int  // values
	began  bool // it was JSON up to something that no prose has
	limits limits
}

func (p *parser) fail(format string, args ...any) error {
	return &syntaxError{p.text[:min(p.at, len(p.text))], fmt.Sprintf(format, args...)}
}

// here names what stands at the parser's place.
func (p *parser) here() string {
	if p.at >= len(p.text) {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return fmt.Sprintf("%q", r)
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take steps over c.
func (p *parser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) value(depth int) (any, error) {
	p.seen++
	switch {
	case p.at >= len(p.text):
		return nil, p.fail("the JSON ends where a value has to be")
	case depth > p.limits.depth:
		return nil, p.fail("nested deeper than %d", p.limits.depth)
	case p.seen > p.limits.values:
		return nil, p.fail("more than %d values", p.limits.values)
	}
	switch c := p.text[p.at]; {
	case c == '{':
		p.at++
		return p.object(depth)
	case c == '[':
		p.at++
		return p.array(depth)
	case c == '"':
		return p.str()
	case c == '-', c >= '0' && c <= '9':
		return p.number()
	}
	switch rest := p.text[p.at:]; {
	case strings.HasPrefix(rest, "true"):
		p.at += len("true")
		return true, nil
	case strings.HasPrefix(rest, "false"):
		p.at += len("false")
		return false, nil
	case strings.HasPrefix(rest, "null"):
		p.at += len("null")
		return nil, nil
	}
	return nil, p.fail("%s where a value has to be", p.here())
}

func (p *parser) object(depth int) (any, error) {
	o := map[string]any{}
	p.space()
	if p.take('}') {
		return o, nil
	}
	for {
		p.space()
		start := p.at
		if p.at >= len(p.text) || p.text[p.at] != '"' {
			return nil, p.fail("%s where a key has to be", p.here())
		}
		key, err := p.str()
		if err != nil {
			return nil, err
		}
		p.space()
		if !p.take(':') {
			return nil, p.fail("%s where a colon has to be", p.here())
		}
		p.began = true
		if _, twice := o[key]; twice {
			p.at = start
			return nil, p.fail("the key %q is there twice", clip(key, nameMax))
		}
		p.space()
		if o[key], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		p.space()
		switch {
		case p.take(','):
		case p.take('}'):
			return o, nil
		default:
			return nil, p.fail("%s where a comma or } has to be", p.here())
		}
	}
}

func (p *parser) array(depth int) (any, error) {
	a := []any{}
	p.space()
	if p.take(']') {
		return a, nil
	}
	for {
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.began = p.began || counts(v)
		a = append(a, v)
		p.space()
		switch {
		case p.take(','):
		case p.take(']'):
			return a, nil
		default:
			return nil, p.fail("%s where a comma or ] has to be", p.here())
		}
	}
}

// str reads a string, from its quote on.
func (p *parser) str() (string, error) {
	start, plain := p.at, true
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			if plain {
				return p.text[start+1 : p.at-1], nil
			}
			var s string
			if err := json.Unmarshal([]byte(p.text[start:p.at]), &s); err != nil {
				p.at = start
				return "", p.fail("a string with an escape that JSON doesn't have")
			}
			return s, nil
		case c == '\\':
			plain = false
			p.at++
		case c < ' ':
			return "", p.fail("%s within a string, where it has to be escaped", p.here())
		}
	}
	p.at = len(p.text)
	return "", p.fail("the JSON ends within a string")
}

func (p *parser) digits() int {
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at - start
}

// number reads a number as JSON writes it, which has no NaN, no plus and no leading zero.
func (p *parser) number() (any, error) {
	start := p.at
	p.take('-')
	zero := p.at < len(p.text) && p.text[p.at] == '0'
	n := p.digits()
	if n == 0 || zero && n > 1 {
		return nil, p.fail("a number that JSON doesn't have")
	}
	if p.take('.') && p.digits() == 0 {
		return nil, p.fail("%s where a digit has to be", p.here())
	}
	exponent := 0
	if p.take('e') || p.take('E') {
		_ = p.take('+') || p.take('-')
		from := p.at
		if p.digits() == 0 {
			return nil, p.fail("%s where a digit has to be", p.here())
		}
		for _, c := range []byte(p.text[from:p.at]) {
			exponent = min(exponent*10+int(c-'0'), exponentMax+1)
		}
	}
	if p.at-start > numberMax || exponent > exponentMax {
		p.at = start
		return nil, p.fail("a number beyond %d digits or an exponent of %d", numberMax, exponentMax)
	}
	return json.Number(p.text[start:p.at]), nil
}
