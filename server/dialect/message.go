package dialect

import (
	"strings"

	"penstock/server/media"
)

// Roles as they are kept; developer is system under a newer name, function tool
// under an older one.
const (
	System    = "system"
	User      = "user"
	Assistant = "assistant"
	Tool      = "tool"
)

// Message is one turn of a conversation.
type Message struct {
	Role      string
	Name      string // of its author, where the client tells several apart
	Text      string
	ToolID    string // role tool: the call it answers
	ToolCalls []ToolCall
	// Own is an agent's own use of a tool, or what that gave: its client only shows it.
	Own bool
	// Ref is the id of an item of an earlier answer that stands for the message, which has
	// nothing else until that is found; "" is none.
	Ref   string
	Where string // the field of the request that it came in; "" where it is not referred to
	// Parts are its images and files, in order.
	Parts []Part
	// Unsupported is why the message can't be sent, nil when it can: clients send the
	// parts of earlier turns again, also to a session that has had them. Text then
	// has a note in the place of what is lacking (see FreshPrompt).
	Unsupported error
}

// ToolCall is a call of any kind in the history.
type ToolCall struct {
	ID, Name, Arguments string
}

// Part is an image or a file of a message, not decoded before its turn is sent.
type Part struct {
	media.Source
	Note string // what stands for it in the text of a turn that isn't sent
	At   int    // where in the message's text, in bytes
}

// AddLine adds a part of a message's text, on a line of its own.
func AddLine(b *strings.Builder, text string) {
	if text != "" && b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
		b.WriteByte('\n')
	}
	b.WriteString(text)
}

// LeaveOut puts notes in the place of the parts.
func (m *Message) LeaveOut() { m.Text, m.Parts = m.noted(), nil }

// Size is how many bytes the message's texts have.
func (m *Message) Size() (n int) {
	n = len(m.Text) + len(m.Name) + len(m.ToolID) + len(m.Ref)
	for _, c := range m.ToolCalls {
		n += len(c.ID) + len(c.Name) + len(c.Arguments)
	}
	return n
}

// noted is the message's text with the notes of its parts in their places.
func (m *Message) noted() string {
	if len(m.Parts) == 0 {
		return m.Text
	}
	var b strings.Builder
	at := 0
	for _, p := range m.Parts {
		b.WriteString(m.Text[at:p.At]) // begins with the line feed that parts it, where there is text before
		at = p.At
		AddLine(&b, p.Note)
	}
	if rest := m.Text[at:]; strings.HasPrefix(rest, "\n") {
		b.WriteString(rest)
	} else {
		AddLine(&b, rest)
	}
	return b.String()
}
