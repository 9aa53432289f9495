package backend

import "strings"

// answer is the text sent so far, as far as an adapter must know it to say how
// much of it stays valid, and to part what several messages say.
type answer struct {
	sent  int  // bytes
	part  bool // the next text begins a new message
	ended bool // the text so far ends with a line feed
}

// next says that what follows is another message; it returns the length of the
// text up to here.
func (a *answer) next() int {
	a.part = a.sent > 0
	return a.sent
}

// text is the event for a piece of the answer. Two messages with the CLI's
// tools at work between them are two paragraphs, else their words run together.
func (a *answer) text(s string) []Event {
	if s == "" {
		return nil
	}
	if a.part && !a.ended {
		s = "\n\n" + s
	}
	a.part = false
	a.sent += len(s)
	a.ended = strings.HasSuffix(s, "\n")
	return []Event{{Kind: Text, Text: s}}
}

// void takes back all after the first keep bytes; nothing when there is nothing.
func (a *answer) void(keep int) []Event {
	if keep < 0 || keep >= a.sent {
		return nil
	}
	a.sent, a.part, a.ended = keep, keep > 0, false
	return []Event{{Kind: Void, Keep: keep}}
}
