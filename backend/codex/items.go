package codex

import (
	"encoding/json"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// threadItem is a step of a turn: the fields of all item types that count.
type threadItem struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	Text    parse.JSONText  `json:"text"`
	Phase   string          `json:"phase"`  // commentary, final_answer; "" is not told
	Status  string          `json:"status"` // inProgress, completed, failed, declined
	Summary []string        `json:"summary"`
	Content json.RawMessage `json:"content"`

	Command   string          `json:"command"`          // commandExecution
	Output    string          `json:"aggregatedOutput"` // commandExecution
	Changes   json.RawMessage `json:"changes"`          // fileChange
	Server    string          `json:"server"`           // mcpToolCall
	Tool      string          `json:"tool"`             // mcpToolCall, dynamicToolCall, collabAgentToolCall
	Arguments json.RawMessage `json:"arguments"`        // mcpToolCall, dynamicToolCall
	Result    json.RawMessage `json:"result"`           // mcpToolCall
	Error     json.RawMessage `json:"error"`            // mcpToolCall
	Items     json.RawMessage `json:"contentItems"`     // dynamicToolCall
	Prompt    string          `json:"prompt"`           // collabAgentToolCall
	Query     string          `json:"query"`            // webSearch
	Path      string          `json:"path"`             // imageView
}

// tool is nil for an item that is no tool use.
func (i threadItem) tool(completed bool) *backend.Tool {
	t := backend.Tool{ID: i.ID, Name: i.Type, Status: "started"}
	switch i.Type {
	case "commandExecution":
		t.Input, t.Output = i.Command, i.Output
	case "fileChange":
		t.Input = parse.RawText(i.Changes)
	case "mcpToolCall":
		t.Name = i.Server + "." + i.Tool
		t.Input, t.Output = parse.RawText(i.Arguments), parse.RawText(i.Result)
		if t.Output == "" {
			t.Output = parse.RawText(i.Error)
		}
	case "dynamicToolCall":
		t.Name, t.Input, t.Output = i.Tool, parse.RawText(i.Arguments), parse.ContentText(i.Items)
	case "collabAgentToolCall":
		t.Name, t.Input = i.Tool, i.Prompt
	case "webSearch":
		t.Input = i.Query
	case "imageView":
		t.Input = i.Path
	case "imageGeneration", "sleep":
	default:
		return nil
	}
	t.Input, t.Output = parse.Bound(t.Input, backend.ToolTextMax), parse.Bound(t.Output, backend.ToolTextMax)
	switch {
	case !completed:
		t.Output = ""
	case i.Status == "failed", i.Status == "declined":
		t.Status = "failed"
	default:
		t.Status = "completed"
	}
	return &t
}

// reasoning is the thinking: summaries or the whole, as the model gives it.
type reasoning struct {
	item  string // the last item that had deltas
	apart bool   // a new section begins
}

// delta is the text to add for a piece of an item's thinking.
func (r *reasoning) delta(item, text string) string {
	if text == "" {
		return ""
	}
	if r.apart || r.item != "" && item != r.item {
		text = "\n\n" + text
	}
	r.item, r.apart = item, false
	return text
}

// part parts the summary's sections.
func (r *reasoning) part() { r.apart = r.item != "" }

// completed gives the thinking of an item that had no deltas.
func (r *reasoning) completed(item threadItem) string {
	if item.ID == r.item {
		return ""
	}
	text := strings.Join(item.Summary, "\n\n")
	var content []string
	if text == "" && json.Unmarshal(item.Content, &content) == nil {
		text = strings.Join(content, "\n\n")
	}
	return r.delta(item.ID, text)
}
