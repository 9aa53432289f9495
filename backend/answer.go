package backend

import "strings"

// answer is the text sent so far, as far as an adapter must know it: to say how
// much of it stays valid, to part what several messages say, and to tell what
// is new in a text that comes again as a whole.
type answer struct {
	sent     int  // bytes
	part     bool // the next text begins a new message
	ended    bool // the text so far ends with a line feed
	stirred  bool // the model or a tool was at work in this turn
	words    joiner
	thoughts joiner
	block    digest // since begin
	before   digest // the last block before it that has text
}

// next says that what follows is another message; it returns the length of the
// text up to here.
func (a *answer) next() int {
	a.begin()
	a.part = a.sent > 0
	return a.sent
}

// begin says that what follows is another block of text.
func (a *answer) begin() {
	if a.block.bytes > 0 {
		a.before = a.block
	}
	a.block = digest{}
}

// text is the event for a piece of the answer. Two messages with the CLI's
// tools at work between them are two paragraphs, else their words run together.
func (a *answer) text(s string) []Event {
	return a.say(a.words.join(s))
}

func (a *answer) say(s string) []Event {
	if s == "" {
		return nil
	}
	a.stirred = true
	a.block = a.block.and(s)
	if a.part && !a.ended {
		s = "\n\n" + s
	}
	a.part = false
	a.sent += len(s)
	a.ended = strings.HasSuffix(s, "\n")
	return []Event{{Kind: Text, Text: s}}
}

// think is the event for a piece of thinking.
func (a *answer) think(s string) []Event {
	if s == "" {
		return nil
	}
	a.stirred = true
	if s = a.thoughts.join(s); s == "" {
		return nil
	}
	return []Event{{Kind: Reasoning, Text: s}}
}

// rest gives what a whole block has beyond the deltas of it that were sent;
// nothing where it doesn't begin with them.
func (a *answer) rest(whole string) []Event {
	whole = wholeWords(whole)
	sent := a.block.bytes
	if len(whole) <= sent || (digest{}).and(whole[:sent]) != a.block {
		return nil
	}
	a.words.half = ""
	return a.say(whole[sent:])
}

// last is rest for a CLI's word of what its last message said, which need not
// have come in any other way.
func (a *answer) last(whole string) []Event {
	if a.block.bytes == 0 && (digest{}).and(wholeWords(whole)) == a.before {
		return nil
	}
	if a.block.bytes == 0 {
		a.part = a.sent > 0
	}
	return a.rest(whole)
}

// void takes back all after the first keep bytes; nothing when there is nothing.
func (a *answer) void(keep int) []Event {
	a.words.half = ""
	if keep < 0 || keep >= a.sent {
		return nil
	}
	a.sent, a.part, a.ended = keep, keep > 0, false
	a.block = digest{}
	return []Event{{Kind: Void, Keep: keep}}
}

// flush gives what is held back of text and thinking, at their end.
func (a *answer) flush() []Event {
	events := a.say(a.words.rest())
	if s := a.thoughts.rest(); s != "" {
		events = append(events, Event{Kind: Reasoning, Text: s})
	}
	return events
}

// done is the end of a turn that the CLI calls a good one: no success where
// nothing was said, done or asked of the model.
func (a *answer) done(finish string) Event {
	if !a.stirred && finish == "stop" {
		return Event{Kind: Failed, Failure: providerFailure(0,
			"the turn ended without text, tool use or a call of the model, and the CLI gives no reason")}
	}
	return Event{Kind: Done, Finish: finish}
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
