// Package parse is what backends share to make events of lines.
//
//	answer.go      the answer so far: paragraphs, what is new in a text that comes again, void, end
//	failure.go     a provider's status or words -> our failure codes; finish reasons
//	usage.go       counts and prices as a CLI tells them; absent is not zero
//	text.go        bounded text, JSON that is not as expected, stray lines
//	surrogates.go  JSON strings that are cut within a code point
package parse

import (
	"strings"

	"penstock/backend"
)

// Answer is the text sent so far, as far as a backend must know it: to say how
// much of it stays valid, to part what several messages say, and to tell what
// is new in a text that comes again as a whole.
type Answer struct {
	Sent     int  // bytes
	Part     bool // the next text begins a new message
	ended    bool // the text so far ends with a line feed
	Stirred  bool // the model or a tool was at work in this turn
	words    joiner
	thoughts joiner
	block    digest // since begin
	before   digest // the last block before it that has text
}

// Next says that what follows is another message; it returns the length of the
// text up to here.
func (a *Answer) Next() int {
	a.Begin()
	a.Part = a.Sent > 0
	return a.Sent
}

// Begin says that what follows is another block of text.
func (a *Answer) Begin() {
	if a.block.bytes > 0 {
		a.before = a.block
	}
	a.block = digest{}
}

// Text is the event for a piece of the answer. Two messages with the CLI's
// tools at work between them are two paragraphs, else their words run together.
func (a *Answer) Text(s string) []backend.Event {
	return a.say(a.words.join(s))
}

func (a *Answer) say(s string) []backend.Event {
	if s == "" {
		return nil
	}
	a.Stirred = true
	a.block = a.block.and(s)
	if a.Part && !a.ended {
		s = "\n\n" + s
	}
	a.Part = false
	a.Sent += len(s)
	a.ended = strings.HasSuffix(s, "\n")
	return []backend.Event{{Kind: backend.Text, Text: s}}
}

// Think is the event for a piece of thinking.
func (a *Answer) Think(s string) []backend.Event {
	if s == "" {
		return nil
	}
	a.Stirred = true
	if s = a.thoughts.join(s); s == "" {
		return nil
	}
	return []backend.Event{{Kind: backend.Reasoning, Text: s}}
}

// Rest gives what a whole block has beyond the deltas of it that were sent;
// nothing where it doesn't begin with them.
func (a *Answer) Rest(whole string) []backend.Event {
	whole = WholeText(whole)
	sent := a.block.bytes
	if len(whole) <= sent || (digest{}).and(whole[:sent]) != a.block {
		return nil
	}
	a.words.half = ""
	return a.say(whole[sent:])
}

// Last is rest for a CLI's word of what its last message said, which need not
// have come in any other way.
func (a *Answer) Last(whole string) []backend.Event {
	if a.block.bytes == 0 && (digest{}).and(WholeText(whole)) == a.before {
		return nil
	}
	if a.block.bytes == 0 {
		a.Part = a.Sent > 0
	}
	return a.Rest(whole)
}

// Void takes back all after the first keep bytes; nothing when there is nothing.
func (a *Answer) Void(keep int) []backend.Event {
	a.words.half = ""
	if keep < 0 || keep >= a.Sent {
		return nil
	}
	a.Sent, a.Part, a.ended = keep, keep > 0, false
	a.block = digest{}
	return []backend.Event{{Kind: backend.Void, Keep: keep}}
}

// Flush gives what is held back of text and thinking, at their end.
func (a *Answer) Flush() []backend.Event {
	events := a.say(a.words.rest())
	if s := a.thoughts.rest(); s != "" {
		events = append(events, backend.Event{Kind: backend.Reasoning, Text: s})
	}
	return events
}

// Done is the end of a turn that the CLI calls a good one: no success where
// nothing was said, done or asked of the model.
func (a *Answer) Done(finish string) backend.Event {
	if !a.Stirred && finish == "stop" {
		return backend.Event{Kind: backend.Failed, Failure: ProviderFailure(0,
			"the turn ended without text, tool use or a call of the model, and the CLI gives no reason")}
	}
	return backend.Event{Kind: backend.Done, Finish: finish}
}

// digest is a text by its length and FNV-1a sum: enough to know it again.
type digest struct {
	bytes int
	sum   uint64
}

func (s digest) and(text string) digest {
	if s.bytes == 0 && text != "" {
		s.sum = 14695981039346656037
	}
	for i := range len(text) {
		s.sum = (s.sum ^ uint64(text[i])) * 1099511628211
	}
	s.bytes += len(text)
	return s
}
