package codex

import (
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// messageText puts the answer together from agent messages. A message that was
// begun and never completed is void once another begins: codex tries a broken
// stream again from its first token, under a new item id.
type messageText struct {
	answer parse.Answer
	item   string        // the message that is open
	start  int           // answer text before it
	final  *finalMessage // nil: every message is part of the answer
}

func (t *messageText) delta(item, text string) []backend.Event {
	switch {
	case text == "":
		return nil
	case t.final != nil:
		t.answer.Stirred = true
		t.final.delta(item, text)
		return nil
	}
	return append(t.open(item), t.answer.Text(text)...)
}

func (t *messageText) open(item string) []backend.Event {
	if item == t.item {
		return nil
	}
	events := t.broken()
	t.item = item
	t.start = t.answer.Next()
	return events
}

// broken voids the open message, if there is one.
func (t *messageText) broken() []backend.Event {
	if t.final != nil {
		t.final.close()
	}
	if t.item == "" {
		return nil
	}
	t.item = ""
	return t.answer.Void(t.start)
}

// completed closes a message; what its deltas don't have comes now.
func (t *messageText) completed(item threadItem) []backend.Event {
	text := string(item.Text)
	if t.final != nil {
		t.answer.Stirred = t.answer.Stirred || text != ""
		t.final.completed(text, item.Phase)
		return nil
	}
	events := append(t.open(item.ID), t.answer.Rest(text)...)
	t.item = ""
	return events
}

// settled gives the text that was held back for the end of the turn.
func (t *messageText) settled() []backend.Event {
	if t.final == nil {
		return nil
	}
	return t.answer.Text(t.final.take())
}

// anew says that the next text is another turn's.
func (t *messageText) anew() {
	t.item = ""
	t.answer.Next()
	t.answer.Stirred = false
}

// finalMessage is an answer that is the turn's last message alone, and known to be that
// only at its end: what the model says on its way there is no part of the JSON that was
// asked for.
type finalMessage struct {
	item string          // the message that is open
	open strings.Builder // what came of it
	last string          // of the messages that are complete
}

func (f *finalMessage) delta(item, text string) {
	if item != f.item {
		f.close()
		f.item = item
	}
	f.open.WriteString(text)
}

func (f *finalMessage) completed(text, phase string) {
	f.close()
	if phase != "commentary" {
		f.last = text
	}
}

func (f *finalMessage) close() {
	f.item = ""
	f.open.Reset()
}

// take gives it: the message that was cut, where one was, else the last whole one.
func (f *finalMessage) take() string {
	text := f.last
	if f.open.Len() > 0 {
		text = f.open.String()
	}
	*f = finalMessage{}
	return text
}
