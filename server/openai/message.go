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

// chatMessage decodes one message of a chat.
type chatMessage struct{ dialect.Message }

func decodeMessage(raw json.RawMessage, i int) (dialect.Message, error) {
	where := fmt.Sprintf("messages[%d]", i)
	f, err := web.ParseObject(raw, where)
	if err != nil {
		return dialect.Message{}, err
	}
	var m chatMessage
	if err := f.Into("role", where, &m.Role, "a string"); err != nil {
		return m.Message, err
	}
	switch m.Role {
	case dialect.System, dialect.User, dialect.Assistant, dialect.Tool:
	case "developer":
		m.Role = dialect.System
	case "function":
		m.Role = dialect.Tool
	case "":
		return m.Message, web.BadRequest(where+".role", "role is needed")
	default:
		return m.Message, web.BadRequest(where+".role", "role %q is not one of system, developer, user, assistant, tool, function", web.Clip(m.Role, 40))
	}
	if err := f.Into("name", where, &m.Name, "a string"); err != nil {
		return m.Message, err
	}
	if err := f.Into("tool_call_id", where, &m.ToolID, "a string"); err != nil {
		return m.Message, err
	}
	if err := m.calls(f, where); err != nil {
		return m.Message, err
	}
	if err := m.content(f["content"], where+".content"); err != nil {
		return m.Message, err
	}
	if m.Role == dialect.Assistant && m.Text == "" {
		if err := f.Into("refusal", where, &m.Text, "a string"); err != nil {
			return m.Message, err
		}
	}
	if !f.Given("content") && (m.Role == dialect.System || m.Role == dialect.User) {
		return m.Message, web.BadRequest(where+".content", "content is needed")
	}
	return m.Message, nil
}

// calls takes function calls, custom ones, and the single one of the older form.
func (m *chatMessage) calls(f web.Fields, where string) error {
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
		var c chatCall
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
		m.ToolCalls = append(m.ToolCalls, c.ToolCall)
	}
	if !f.Given("function_call") {
		return nil
	}
	var c chatCall
	if err := c.called(f, "function_call", "arguments", where); err != nil {
		return err
	}
	m.ToolCalls = append(m.ToolCalls, c.ToolCall)
	return nil
}

// chatCall is one call in a message.
type chatCall struct{ dialect.ToolCall }

// called takes what is called, and with what. Arguments are text, or JSON from
// clients that have parsed them.
func (c *chatCall) called(f web.Fields, kind, arguments, where string) error {
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
func (m *chatMessage) content(raw json.RawMessage, where string) error {
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
func (m *chatMessage) parts(raw json.RawMessage, where string) error {
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
		case kind == "text", kind == "refusal" && m.Role == dialect.Assistant:
			if !f.Given(kind) {
				return web.BadRequest(at+"."+kind, "%s is needed", kind)
			}
			if err := f.Into(kind, at, &one, "a string"); err != nil {
				return err
			}
		case m.Role == dialect.Assistant && slices.Contains([]string{"thinking", "redacted_thinking", "reasoning"}, kind):
		default:
			one = fmt.Sprintf("[%s: left out here]", web.Clip(kind, 40))
			if m.Unsupported == nil {
				m.Unsupported = web.BadRequest(at, "part type %q is not supported: only text is", web.Clip(kind, 40))
			}
		}
		dialect.AddLine(&text, one)
		return nil
	})
	m.Text = text.String()
	return err
}
