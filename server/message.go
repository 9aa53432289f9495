package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Roles as we keep them; developer is system under a newer name.
const (
	roleSystem    = "system"
	roleUser      = "user"
	roleAssistant = "assistant"
	roleTool      = "tool"
)

// message is one turn with its text.
type message struct {
	Role      string
	Text      string
	ToolID    string // role tool: the call it answers
	ToolCalls []toolCall
}

type toolCall struct {
	ID       string `json:"id"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
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
	case "":
		return m, badRequest(where+".role", "role is needed")
	default:
		return m, badRequest(where+".role", "role %q is not one of system, developer, user, assistant, tool", clip(m.Role, 40))
	}
	if err := f.into("tool_call_id", where, &m.ToolID, "a string"); err != nil {
		return m, err
	}
	if err := f.into("tool_calls", where, &m.ToolCalls, "an array of calls"); err != nil {
		return m, err
	}
	m.Text, err = decodeContent(f["content"], where+".content")
	if err == nil && !f.given("content") && m.Role != roleAssistant {
		err = badRequest(where+".content", "content is needed")
	}
	return m, err
}

// decodeContent takes a string, null, or an array of text parts.
func decodeContent(raw json.RawMessage, where string) (string, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || isNull(raw) {
		return "", nil
	}
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", badRequest(where, "not valid JSON: %v", err)
		}
		return text, nil
	case '[':
		return decodeParts(raw, where)
	}
	return "", badRequest(where, "content must be a string, null or an array of parts")
}

func decodeParts(raw json.RawMessage, where string) (string, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", badRequest(where, "not valid JSON: %v", err)
	}
	var text strings.Builder
	for i, part := range parts {
		at := fmt.Sprintf("%s[%d]", where, i)
		f, err := parseObject(part, at)
		if err != nil {
			return "", err
		}
		var kind, one string
		if err := f.into("type", at, &kind, "a string"); err != nil {
			return "", err
		}
		if kind != "text" {
			return "", badRequest(at, "part type %q is not supported: only text is", clip(kind, 40))
		}
		if !f.given("text") {
			return "", badRequest(at+".text", "text is needed")
		}
		if err := f.into("text", at, &one, "a string"); err != nil {
			return "", err
		}
		text.WriteString(one)
	}
	return text.String(), nil
}
