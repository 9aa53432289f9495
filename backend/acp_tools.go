package backend

import (
	"encoding/json"
	"strings"
)

// acpToolCall is the part of an update that is about a tool.
type acpToolCall struct {
	ToolID string          `json:"toolCallId"`
	Title  string          `json:"title"`
	Status string          `json:"status"` // pending, in_progress, completed, failed
	Input  json.RawMessage `json:"rawInput"`
	Output json.RawMessage `json:"rawOutput"`
}

// acpTools turns an agent's many updates of a tool call into two events: when it
// starts, with its whole input, and when it has ended.
type acpTools struct {
	open map[string]*acpOpenTool
	used bool // the turn had tool activity
}

type acpOpenTool struct {
	name    string
	input   string
	started bool
}

// acpToolsMax bounds how many calls are remembered at a time.
const acpToolsMax = 256

func (t *acpTools) update(u acpUpdate) []Event {
	t.used = true
	call := t.call(u)
	if len(u.Input) > 0 {
		call.input = rawText(u.Input)
	}
	var events []Event
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
func (t *acpTools) call(u acpUpdate) *acpOpenTool {
	if call := t.open[u.ToolID]; call != nil {
		return call
	}
	name := u.Title
	if name == "" {
		name = "tool"
	}
	call := &acpOpenTool{name: bound(name, noticeMax)}
	if t.open == nil {
		t.open = map[string]*acpOpenTool{}
	}
	if len(t.open) < acpToolsMax {
		t.open[u.ToolID] = call
	}
	return call
}

func (c acpOpenTool) event(id, status, output string) Event {
	return Event{Kind: ToolUse, Tool: &Tool{ID: id, Name: c.name, Status: status, Input: c.input, Output: output}}
}

// toolOutput is the text of a tool's content blocks, else its raw output.
func toolOutput(u acpUpdate) string {
	var blocks []struct {
		Content json.RawMessage `json:"content"`
	}
	var text strings.Builder
	if json.Unmarshal(u.Content, &blocks) == nil {
		for _, b := range blocks {
			text.WriteString(wholeWords(blockText(b.Content)))
		}
	}
	if text.Len() == 0 {
		return rawText(u.Output)
	}
	return bound(text.String(), ToolTextMax)
}
