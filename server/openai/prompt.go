package openai

import (
	"slices"
	"strings"

	"penstock/internal/bytesize"
	"penstock/server/web"
)

// promptMax is what a conversation may be as one text. What is written around
// turns and calls, and into them, adds to a body's bytes.
const promptMax = 16 << 20

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
func Prompt(messages []Message, resumed bool) (system, prompt string, err error) {
	var systems []string
	var spoken []Message
	for _, m := range messages {
		switch {
		case m.Role == roleSystem && m.Unsupported != nil:
			return "", "", m.Unsupported
		case m.Role == roleSystem:
			systems = append(systems, m.Text)
		case m.Role == RoleAssistant && resumed:
			spoken = nil
		default:
			spoken = append(spoken, m)
		}
	}
	system = strings.Join(systems, "\n\n")
	if len(spoken) == 0 {
		return "", "", web.BadRequest("messages", "nothing follows the last assistant message: there is nothing to say to the resumed session")
	}
	for _, m := range spoken {
		if m.Unsupported != nil {
			return "", "", m.Unsupported
		}
	}
	if len(spoken) == 1 && spoken[0].Role == roleUser {
		return system, spoken[0].Text, nil
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
	if b.Len() > promptMax {
		return "", "", web.Errorf(web.BodyTooLarge, "the conversation is over %s as one prompt", bytesize.Human(promptMax))
	}
	return system, b.String(), nil
}

// FreshPrompt is a whole conversation for a CLI that has forgotten its session; ok is
// false where it can't be told. Parts of earlier turns that can't be sent are named in it.
func FreshPrompt(messages []Message) (system, prompt string, ok bool) {
	sendable := slices.Clone(messages)
	for i := range sendable {
		sendable[i].Unsupported = nil
	}
	system, prompt, err := Prompt(sendable, false)
	return system, prompt, err == nil
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
