package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"penstock/server/dialect"
	"penstock/server/web"
)

// message decodes one message of any of the dialects.
type message struct{ dialect.Message }

// role takes one of the roles that the dialect has, under the name that it is kept by.
func (m *message) role(where string, known ...string) error {
	switch {
	case m.Role == "":
		return web.BadRequest(where+".role", "role is needed")
	case !slices.Contains(known, m.Role):
		return web.BadRequest(where+".role", "role %q is not one of %s", web.Clip(m.Role, 40), strings.Join(known, ", "))
	case m.Role == "developer":
		m.Role = dialect.System
	case m.Role == "function":
		m.Role = dialect.Tool
	}
	return nil
}

// content takes a string, null, or an array of parts.
func (m *message) content(raw json.RawMessage, where string) error {
	if len(bytes.TrimSpace(raw)) == 0 || web.IsNull(raw) {
		return nil
	}
	switch web.KindOf(raw) {
	case '"':
		text, err := web.Unquote(raw)
		if err != nil {
			return web.BadRequest(where, "not valid JSON: %v", err)
		}
		m.Text = text
		return nil
	case '[':
		return m.parts(raw, where)
	}
	return web.BadRequest(where, "content must be a string, null or an array of parts")
}

// parts puts each text on a line of its own.
func (m *message) parts(raw json.RawMessage, where string) error {
	var text strings.Builder
	i := -1
	err := web.Members(raw, func(_, part json.RawMessage) error {
		i++
		return m.part(&text, part, fmt.Sprintf("%s[%d]", where, i))
	})
	m.Text = text.String()
	return err
}

// thoughts are parts of an assistant's message that are not sent again.
var thoughts = []string{"thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text"}

// part adds one part. One that can't be sent is only named.
func (m *message) part(text *strings.Builder, raw json.RawMessage, where string) error {
	f, err := web.ParseObject(raw, where)
	if err != nil {
		return err
	}
	var kind string
	if err := f.Into("type", where, &kind, "a string"); err != nil {
		return err
	}
	p := dialect.Part{Note: fmt.Sprintf("[%s: left out here]", web.Clip(kind, 40)), At: text.Len()}
	switch {
	case slices.Contains([]string{"text", "input_text", "output_text"}, kind):
		return addText(text, f, "text", where)
	case kind == "refusal" && m.Role == dialect.Assistant:
		return addText(text, f, "refusal", where)
	case m.Role == dialect.Assistant && slices.Contains(thoughts, kind):
		return nil
	case m.Role == dialect.System:
		err = web.BadRequest(where, "part type %q is not supported in a system message: only text is", web.Clip(kind, 40))
	case slices.Contains([]string{"image_url", "input_image", "computer_screenshot"}, kind):
		p.Source, err = imageSource(f, where)
	case kind == "file":
		p.Source, err = chatFileSource(f, where)
	case kind == "input_file":
		p.Source, err = fileSource(f, where)
	default:
		err = web.BadRequest(where, "part type %q is not supported: only text, images and files are", web.Clip(kind, 40))
	}
	if err == nil {
		m.Parts = append(m.Parts, p)
		return nil
	}
	if m.Unsupported == nil {
		m.Unsupported = err
	}
	dialect.AddLine(text, p.Note)
	return nil
}

func addText(text *strings.Builder, f web.Fields, member, where string) error {
	if !f.Given(member) {
		return web.BadRequest(web.JoinField(where, member), "%s is needed", member)
	}
	var one string
	err := f.Into(member, where, &one, "a string")
	dialect.AddLine(text, one)
	return err
}

// textOf is a string as it is, and any other value as JSON: some clients send parsed what
// the dialect has as text. Absent and null are none.
func textOf(raw json.RawMessage, where string) (string, error) {
	if len(raw) == 0 || web.IsNull(raw) {
		return "", nil
	}
	if web.KindOf(raw) == '"' {
		text, err := web.Unquote(raw)
		if err != nil {
			return "", web.BadRequest(where, "not valid JSON: %v", err)
		}
		return text, nil
	}
	var text bytes.Buffer
	if err := json.Compact(&text, raw); err != nil {
		return "", web.BadRequest(where, "not valid JSON: %v", err)
	}
	return text.String(), nil
}
