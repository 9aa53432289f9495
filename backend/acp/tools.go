package acp

import (
	"encoding/json"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// toolCall is the part of an update that is about a tool.
type toolCall struct {
	ToolID string          `json:"toolCallId"`
	Title  string          `json:"title"`
	Status string          `json:"status"` // pending, in_progress, completed, failed
	Input  json.RawMessage `json:"rawInput"`
	Output json.RawMessage `json:"rawOutput"`
}

// toolCalls turns an agent's many updates of a tool call into two events: when it
// starts, with its whole input, and when it has ended.
type toolCalls struct {
	open map[string]*openTool
	used bool // the turn had tool activity
	ids  bool // profile.toolIDs
}

type openTool struct {
	name    string
	input   string
	started bool
}

// toolsMax bounds how many calls are remembered at a time.
const toolsMax = 256

func (t *toolCalls) update(u update) []backend.Event {
	t.used = true
	call := t.call(u)
	if len(u.Input) > 0 {
		call.input = parse.RawText(u.Input)
	}
	var events []backend.Event
	if !call.started && u.Status != "pending" && u.Status != "" {
		call.started = true
		events = append(events, call.event(u.ToolID, "started", ""))
	}
	if u.Status == "completed" || u.Status == "failed" {
		delete(t.open, u.ToolID)
		events = append(events, call.event(u.ToolID, u.Status, toolOutput(u)))
	}
	return events
}

// call finds the open call of an update, or opens one. Its name is the first
// title, which is the tool's; later ones describe what it does.
func (t *toolCalls) call(u update) *openTool {
	if call := t.open[u.ToolID]; call != nil {
		return call
	}
	name, input := u.Title, ""
	if tool, _, ok := strings.Cut(u.ToolID, "__"); ok && t.ids {
		name, input = tool, parse.Bound(u.Title, backend.ToolTextMax)
	}
	if name == "" {
		name = "tool"
	}
	call := &openTool{name: parse.Bound(name, parse.NoticeMax), input: input}
	if t.open == nil {
		t.open = map[string]*openTool{}
	}
	if len(t.open) < toolsMax {
		t.open[u.ToolID] = call
	}
	return call
}

func (c openTool) event(id, status, output string) backend.Event {
	return backend.Event{Kind: backend.ToolUse, Tool: &backend.Tool{ID: id, Name: c.name, Status: status, Input: c.input, Output: output}}
}

// toolOutput is the text of a tool's content blocks, else its raw output.
func toolOutput(u update) string {
	var blocks []struct {
		Content json.RawMessage `json:"content"`
	}
	var text strings.Builder
	if json.Unmarshal(u.Content, &blocks) == nil {
		for _, b := range blocks {
			text.WriteString(parse.WholeText(blockText(b.Content)))
		}
	}
	if text.Len() == 0 {
		return parse.RawText(u.Output)
	}
	return parse.Bound(text.String(), backend.ToolTextMax)
}
