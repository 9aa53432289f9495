package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"penstock/server/web"
)

// Roles as we keep them; developer is system under a newer name, function tool
// under an older one.
const (
	roleSystem    = "system"
	roleUser      = "user"
	RoleAssistant = "assistant"
	roleTool      = "tool"
)

// Message is one turn with its text.
type Message struct {
	Role      string
	Name      string // of its author, where the client tells several apart
	Text      string
	ToolID    string // role tool: the call it answers
	ToolCalls []toolCall
	// Unsupported is why the message can't be sent, nil when it can: clients send the
	// images of earlier turns again, also to a session that has had them. Text then
	// has a note in the place of what is lacking (see FreshPrompt).
	Unsupported error
}

// toolCall is a call of any kind in the history.
type toolCall struct {
	ID, Name, Arguments string
}

func decodeMessage(raw json.RawMessage, i int) (Message, error) {
	where := fmt.Sprintf("messages[%d]", i)
	f, err := web.ParseObject(raw, where)
	if err != nil {
		return Message{}, err
	}
	var m Message
	if err := f.Into("role", where, &m.Role, "a string"); err != nil {
		return m, err
	}
	switch m.Role {
	case roleSystem, roleUser, RoleAssistant, roleTool:
	case "developer":
		m.Role = roleSystem
	case "function":
		m.Role = roleTool
	case "":
		return m, web.BadRequest(where+".role", "role is needed")
	default:
		return m, web.BadRequest(where+".role", "role %q is not one of system, developer, user, assistant, tool, function", web.Clip(m.Role, 40))
	}
	if err := f.Into("name", where, &m.Name, "a string"); err != nil {
		return m, err
	}
	if err := f.Into("tool_call_id", where, &m.ToolID, "a string"); err != nil {
		return m, err
	}
	if err := m.calls(f, where); err != nil {
		return m, err
	}
	if err := m.content(f["content"], where+".content"); err != nil {
		return m, err
	}
	if m.Role == RoleAssistant && m.Text == "" {
		if err := f.Into("refusal", where, &m.Text, "a string"); err != nil {
			return m, err
		}
	}
	if !f.Given("content") && (m.Role == roleSystem || m.Role == roleUser) {
		return m, web.BadRequest(where+".content", "content is needed")
	}
	return m, nil
}

// calls takes function calls, custom ones, and the single one of the older form.
func (m *Message) calls(f web.Fields, where string) error {
	raw, err := f.Array("tool_calls", where, "an array of calls")
	if err != nil {
		return err
	}
	for i, one := range raw {
		at := fmt.Sprintf("%s.tool_calls[%d]", where, i)
		call, err := web.ParseObject(one, at)
		if err != nil {
			return err
		}
		var c toolCall
		if err := call.Into("id", at, &c.ID, "a string"); err != nil {
			return err
		}
		kind := "function"
		if err := call.Into("type", at, &kind, "a string"); err != nil {
			return err
		}
		arguments := "arguments"
		if kind == "custom" {
			arguments = "input"
		} else {
			kind = "function"
		}
		if err := c.called(call, kind, arguments, at); err != nil {
			return err
		}
		m.ToolCalls = append(m.ToolCalls, c)
	}
	if !f.Given("function_call") {
		return nil
	}
	var c toolCall
	if err := c.called(f, "function_call", "arguments", where); err != nil {
		return err
	}
	m.ToolCalls = append(m.ToolCalls, c)
	return nil
}

// called takes what is called, and with what. Arguments are text, or JSON from
// clients that have parsed them.
func (c *toolCall) called(f web.Fields, kind, arguments, where string) error {
	if !f.Given(kind) {
		return nil
	}
	where = web.JoinField(where, kind)
	called, err := web.ParseObject(f[kind], where)
	if err != nil {
		return err
	}
	if err := called.Into("name", where, &c.Name, "a string"); err != nil {
		return err
	}
	if !called.Given(arguments) || json.Unmarshal(called[arguments], &c.Arguments) == nil {
		return nil
	}
	var text bytes.Buffer
	if err := json.Compact(&text, called[arguments]); err != nil {
		return web.BadRequest(web.JoinField(where, arguments), "not valid JSON: %v", err)
	}
	c.Arguments = text.String()
	return nil
}

// content takes a string, null, or an array of parts.
func (m *Message) content(raw json.RawMessage, where string) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || web.IsNull(raw) {
		return nil
	}
	switch raw[0] {
	case '"':
		if err := json.Unmarshal(raw, &m.Text); err != nil {
			return web.BadRequest(where, "not valid JSON: %v", err)
		}
		return nil
	case '[':
		return m.parts(raw, where)
	}
	return web.BadRequest(where, "content must be a string, null or an array of parts")
}

// parts puts each text on a line of its own. What an agent thought is not sent
// again; a part that can't be sent is only named.
func (m *Message) parts(raw json.RawMessage, where string) error {
	var text strings.Builder
	i := -1
	err := web.Members(raw, func(_, part json.RawMessage) error {
		i++
		at := fmt.Sprintf("%s[%d]", where, i)
		f, err := web.ParseObject(part, at)
		if err != nil {
			return err
		}
		var kind, one string
		if err := f.Into("type", at, &kind, "a string"); err != nil {
			return err
		}
		switch {
		case kind == "text", kind == "refusal" && m.Role == RoleAssistant:
			if !f.Given(kind) {
				return web.BadRequest(at+"."+kind, "%s is needed", kind)
			}
			if err := f.Into(kind, at, &one, "a string"); err != nil {
				return err
			}
		case m.Role == RoleAssistant && slices.Contains([]string{"thinking", "redacted_thinking", "reasoning"}, kind):
		default:
			one = fmt.Sprintf("[%s: left out here]", web.Clip(kind, 40))
			if m.Unsupported == nil {
				m.Unsupported = web.BadRequest(at, "part type %q is not supported: only text is", web.Clip(kind, 40))
			}
		}
		if one != "" && text.Len() > 0 && !strings.HasSuffix(text.String(), "\n") {
			text.WriteByte('\n')
		}
		text.WriteString(one)
		return nil
	})
	m.Text = text.String()
	return err
}
