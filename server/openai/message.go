package openai

import (
	"encoding/json"
	"fmt"

	"penstock/server/dialect"
	"penstock/server/web"
)

func decodeMessage(raw json.RawMessage, i int) (dialect.Message, error) {
	where := fmt.Sprintf("messages[%d]", i)
	f, err := web.ParseObject(raw, where)
	if err != nil {
		return dialect.Message{}, err
	}
	var m message
	if err := f.Into("role", where, &m.Role, "a string"); err != nil {
		return m.Message, err
	}
	if err := m.role(where, "system", "developer", "user", "assistant", "tool", "function"); err != nil {
		return m.Message, err
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
func (m *message) calls(f web.Fields, where string) error {
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

// called takes what is called, and with what.
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
	c.Arguments, err = textOf(called[arguments], web.JoinField(where, arguments))
	return err
}
