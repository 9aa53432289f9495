package dialect

import (
	"errors"
	"strings"

	"penstock/internal/bytesize"
	"penstock/server/web"
)

// PromptMax is what a conversation may be as one text. What is written around
// turns and calls, and into them, adds to a body's bytes.
const PromptMax = 16 << 20

// ErrNothingNew is Prompt's where a resumed session has nothing to be told.
var ErrNothingNew = errors.New("nothing follows the last assistant message: there is nothing to say to the resumed session")

// Prompt turns a conversation into the one prompt a CLI takes.
//
// System and developer texts, in order and a blank line apart, are the system
// text. A single user message is the prompt as it is. Anything longer has one
// form, oldest message first:
//
//	This is a conversation so far. Answer its last message.
//
//	<message role="user">
//	text
//	</message>
//
//	<message role="tool" id="call_1">
//	text
//	</message>
//
// A message whose author has a name has it as name="...". An assistant's tool calls are lines <call id="call_1" name="f">arguments</call>
// inside its message. "</message" and "</call" inside a text are written with a
// backslash before the slash, so that a text can't end its own message.
//
// resumed says that the CLI still knows the conversation: then only what
// follows the last assistant message counts.
//
// Of images and files, too, only those count that follow the last assistant message; in
// the place of an earlier one its text has a note.
func Prompt(messages []Message, resumed bool) (Turn, error) {
	var turn Turn
	var systems []string
	var spoken []Message
	past := 0 // messages up to the last assistant's
	for _, m := range messages {
		switch {
		case m.Role == System && m.Unsupported != nil:
			return Turn{}, m.Unsupported
		case m.Role == System:
			systems = append(systems, m.Text)
		case m.Role == Assistant && resumed:
			spoken, past = nil, 0
		case m.Own && resumed: // what the agent's own tools gave
		default:
			spoken = append(spoken, m)
			if m.Role == Assistant {
				past = len(spoken)
			}
		}
	}
	turn.System = strings.Join(systems, "\n\n")
	if len(spoken) == 0 {
		return Turn{}, ErrNothingNew
	}
	for _, m := range spoken[past:] {
		if m.Unsupported != nil {
			return Turn{}, m.Unsupported
		}
		turn.Parts = append(turn.Parts, m.Parts...)
	}
	if len(spoken) == 1 && spoken[0].Role == User {
		turn.Prompt = spoken[0].Text
		return turn, nil
	}
	for i := range spoken[:past] {
		spoken[i].Text = spoken[i].noted()
	}
	size := 0
	for _, m := range spoken {
		size += len(m.Text) + len(m.Name) + len(m.ToolID) + 64
		for _, c := range m.ToolCalls {
			size += len(c.ID) + len(c.Name) + len(c.Arguments) + 32
		}
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString("This is a conversation so far. Answer its last message.\n")
	for _, m := range spoken {
		writeMessage(&b, m)
	}
	if b.Len() > PromptMax {
		return Turn{}, web.Errorf(web.BodyTooLarge, "the conversation is over %s as one prompt", bytesize.Human(PromptMax))
	}
	turn.Prompt = b.String()
	return turn, nil
}

// Turn is what a CLI is told.
type Turn struct {
	System, Prompt string
	Parts          []Part
}

func writeMessage(b *strings.Builder, m Message) {
	b.WriteString("\n<message role=\"" + m.Role + "\"")
	if m.Name != "" {
		b.WriteString(" name=\"" + attribute(m.Name) + "\"")
	}
	if m.ToolID != "" {
		b.WriteString(" id=\"" + attribute(m.ToolID) + "\"")
	}
	b.WriteString(">\n")
	if m.Text != "" || len(m.ToolCalls) == 0 {
		b.WriteString(inner(m.Text) + "\n")
	}
	for _, c := range m.ToolCalls {
		b.WriteString("<call")
		if c.ID != "" {
			b.WriteString(" id=\"" + attribute(c.ID) + "\"")
		}
		b.WriteString(" name=\"" + attribute(c.Name) + "\">" + inner(c.Arguments) + "</call>\n")
	}
	b.WriteString("</message>\n")
}

var (
	innerText = strings.NewReplacer("</message", `<\/message`, "</call", `<\/call`)
	attrText  = strings.NewReplacer(`"`, "'", "\n", " ", "<", " ", ">", " ")
)

func inner(text string) string { return innerText.Replace(text) }

func attribute(text string) string { return attrText.Replace(text) }
