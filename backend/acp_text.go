package backend

import "strings"

// acpText puts the answer together. A message ends where the agent names another
// or uses a tool; not all agents name their messages.
type acpText struct {
	answer  answer
	parts   []*acpPart
	stepped bool
}

// acpPart is one message of the answer.
type acpPart struct {
	id    string
	start int // answer text before it
	text  strings.Builder
}

func (t *acpText) chunk(id, text string) []Event {
	if text == "" {
		return nil
	}
	if n := len(t.parts); n == 0 || t.stepped || t.parts[n-1].id != id {
		t.stepped = false
		t.parts = append(t.parts, &acpPart{id: id, start: t.answer.next()})
	}
	t.parts[len(t.parts)-1].text.WriteString(text)
	return t.answer.text(text)
}

// step says that a tool was used: what follows is another message.
func (t *acpText) step() { t.stepped = true }

// last is the id of the newest message; "" is none.
func (t *acpText) last() string {
	if len(t.parts) == 0 {
		return ""
	}
	return t.parts[len(t.parts)-1].id
}
