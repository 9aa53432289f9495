package server

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
	roleAssistant = "assistant"
	roleTool      = "tool"
)

// message is one turn with its text.
type message struct {
	Role      string
	Name      string // of its author, where the client tells several apart
	Text      string
	ToolID    string // role tool: the call it answers
	ToolCalls []toolCall
	// Unsupported is why the message can't be sent, nil when it can: clients send the
	// images of earlier turns again, also to a session that has had them. Text then
	// has a note in the place of what is lacking (see freshPrompt).
	Unsupported error
}

// toolCall is a call of any kind in the history.
type toolCall struct {
	ID, Name, Arguments string
}

func decodeMessage(raw json.RawMessage, i int) (message, error) {
	where := fmt.Sprintf("messages[%d]", i)
	f, err := parseObject(raw, where)
	if err != nil {
		return message{}, err
	}
	var m message
	if err := f.into("role", where, &m.Role, "a string"); err != nil {
		return m, err
	}
	switch m.Role {
	case roleSystem, roleUser, roleAssistant, roleTool:
	case "developer":
		m.Role = roleSystem
	case "function":
		m.Role = roleTool
	case "":
		return m, web.BadRequest(where+".role", "role is needed")
	default:
		return m, web.BadRequest(where+".role", "role %q is not one of system, developer, user, assistant, tool, function", web.Clip(m.Role, 40))
	}
	if err := f.into("name", where, &m.Name, "a string"); err != nil {
		return m, err
	}
	if err := f.into("tool_call_id", where, &m.ToolID, "a string"); err != nil {
		return m, err
	}
	if err := m.calls(f, where); err != nil {
		return m, err
	}
	if err := m.content(f["content"], where+".content"); err != nil {
		return m, err
	}
	if m.Role == roleAssistant && m.Text == "" {
		if err := f.into("refusal", where, &m.Text, "a string"); err != nil {
			return m, err
		}
	}
	if !f.given("content") && (m.Role == roleSystem || m.Role == roleUser) {
		return m, web.BadRequest(where+".content", "content is needed")
	}
	return m, nil
}

// calls takes function calls, custom ones, and the single one of the older form.
func (m *message) calls(f fields, where string) error {
	raw, err := f.array("tool_calls", where, "an array of calls")
	if err != nil {
		return err
	}
	for i, one := range raw {
		at := fmt.Sprintf("%s.tool_calls[%d]", where, i)
		call, err := parseObject(one, at)
		if err != nil {
			return err
		}
		var c toolCall
		if err := call.into("id", at, &c.ID, "a string"); err != nil {
			return err
		}
		kind := "function"
		if err := call.into("type", at, &kind, "a string"); err != nil {
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
	if !f.given("function_call") {
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
func (c *toolCall) called(f fields, kind, arguments, where string) error {
	if !f.given(kind) {
		return nil
	}
	where = join(where, kind)
	called, err := parseObject(f[kind], where)
	if err != nil {
		return err
	}
	if err := called.into("name", where, &c.Name, "a string"); err != nil {
		return err
	}
	if !called.given(arguments) || json.Unmarshal(called[arguments], &c.Arguments) == nil {
		return nil
	}
	var text bytes.Buffer
	if err := json.Compact(&text, called[arguments]); err != nil {
		return web.BadRequest(join(where, arguments), "not valid JSON: %v", err)
	}
	c.Arguments = text.String()
	return nil
}

// content takes a string, null, or an array of parts.
func (m *message) content(raw json.RawMessage, where string) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || isNull(raw) {
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
func (m *message) parts(raw json.RawMessage, where string) error {
	var text strings.Builder
	i := -1
	err := members(raw, func(_, part json.RawMessage) error {
		i++
		at := fmt.Sprintf("%s[%d]", where, i)
		f, err := parseObject(part, at)
		if err != nil {
			return err
		}
		var kind, one string
		if err := f.into("type", at, &kind, "a string"); err != nil {
			return err
		}
		switch {
		case kind == "text", kind == "refusal" && m.Role == roleAssistant:
			if !f.given(kind) {
				return web.BadRequest(at+"."+kind, "%s is needed", kind)
			}
			if err := f.into(kind, at, &one, "a string"); err != nil {
				return err
			}
		case m.Role == roleAssistant && slices.Contains([]string{"thinking", "redacted_thinking", "reasoning"}, kind):
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
