package schema

import (
	"fmt"
	"strings"
)

const (
	// AnswerMax bounds the answer that is held to a schema, in bytes.
	AnswerMax    = 1 << 20
	answerValues = 100_000
	answerDepth  = 100
)

var answerLimits = limits{answerDepth, answerValues}

// Found is the JSON in an answer.
type Found struct {
	JSON  string // as the model wrote it
	Value any
	Bare  bool // the answer has nothing else
}

// Find gives the one JSON value of an answer. Words around it, or a code fence, are left
// out where there is exactly one that they could be around. Any error is an *Error.
func Find(answer string) (Found, error) {
	answer = trim(answer)
	if answer == "" {
		return Found{}, &Error{"", "is empty"}
	}
	v, whole := parse(answer, answerLimits)
	if whole == nil {
		return Found{answer, v, true}, nil
	}
	var f finder
	for _, part := range fenced(answer) {
		if part.fence {
			f.block(part)
		} else {
			f.words(part.text)
		}
	}
	switch {
	case f.broken != nil:
		return Found{}, &Error{"", "is no JSON: " + f.broken.Error()}
	case len(f.found) == 0:
		return Found{}, &Error{"", fmt.Sprintf("has no JSON: it begins %q", clip(answer, valueMax))}
	case len(f.found) > 1:
		return Found{}, &Error{"", "has more than one JSON value, and may have one only"}
	}
	return f.found[0], nil
}

// trim takes white space away, and a byte order mark with it.
func trim(s string) string { return strings.Trim(s, " \t\r\n\ufeff") }

// finder looks for JSON in words. It goes over them once: what looks like JSON and isn't is
// the end, since what is in it may be no answer.
type finder struct {
	found  []Found
	broken error
}

// block looks at the content of a code fence: all of it is one value, or it is something else.
func (f *finder) block(b part) {
	text := trim(b.text)
	v, err := parse(text, answerLimits)
	switch {
	case err == nil:
		f.found = append(f.found, Found{JSON: text, Value: v})
	case f.broken != nil:
	case strings.HasPrefix(b.label, "json"), b.label == "" && strings.HasPrefix(text, "{"):
		f.broken = err
	}
}

// words looks for objects and arrays. Of what prose has for other reasons, such as [1], [ ] or
// {}, none counts.
func (f *finder) words(text string) {
	for at := 0; f.broken == nil && len(f.found) < 2; {
		next := strings.IndexAny(text[at:], "{[")
		if next < 0 {
			return
		}
		at += next
		p := parser{text: text, at: at, limits: answerLimits}
		v, err := p.value(0)
		switch {
		case err == nil && counts(v):
			f.found = append(f.found, Found{JSON: text[at:p.at], Value: v})
			at = p.at
		case err == nil:
			at = p.at
		case p.began || p.seen > scalarsMax:
			f.broken = err
		default:
			at++
		}
	}
}

// scalarsMax is how many plain values in brackets may turn out to be words.
const scalarsMax = 20

// counts tells a value that stands in words for its own sake.
func counts(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) > 0
	case []any:
		for _, item := range v {
			switch item.(type) {
			case string, map[string]any, []any:
				return true
			}
		}
	case string:
		return true
	}
	return false
}

// part is a stretch of an answer: words, or what is in a code fence.
type part struct {
	text  string
	fence bool
	label string // what the fence says of its content
}

// fenced cuts an answer at its code fences. One that isn't closed is words.
func fenced(answer string) []part {
	var parts []part
	for rest := answer; ; {
		open, mark := fenceIn(rest, "")
		if mark == "" {
			return append(parts, part{text: rest})
		}
		inner := rest[open:]
		line, body, _ := strings.Cut(inner, "\n")
		end, closing := fenceIn(body, mark)
		if closing == "" {
			return append(parts, part{text: rest})
		}
		label := strings.ToLower(strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), mark[:1])))
		parts = append(parts, part{text: rest[:open]}, part{body[:end], true, label})
		_, rest, _ = strings.Cut(body[end:], "\n")
	}
}

// fenceIn finds the first line that is a code fence: any that opens one, or the one that closes mark.
func fenceIn(text, mark string) (at int, found string) {
	for line := range strings.Lines(text) {
		word := strings.TrimSpace(line)
		for _, c := range []string{"`", "~"} {
			label := strings.TrimLeft(word, c)
			fence := word[:len(word)-len(label)]
			opens := mark == "" && !strings.Contains(label, "`")
			closes := mark != "" && label == "" && strings.HasPrefix(fence, mark)
			if len(fence) >= 3 && (opens || closes) {
				return at, fence
			}
		}
		at += len(line)
	}
	return 0, ""
}
