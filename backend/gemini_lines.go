package backend

import (
	"encoding/json"
	"strings"
)

// geminiLine is one line of `--output-format stream-json` (gemini 0.61.0): the
// fields of all types that count.
type geminiLine struct {
	Type       string          `json:"type"`
	SessionID  string          `json:"session_id"`
	Role       string          `json:"role"`
	Content    words           `json:"content"`
	ToolName   string          `json:"tool_name"`
	ToolID     string          `json:"tool_id"`
	Parameters json.RawMessage `json:"parameters"`
	Status     string          `json:"status"` // success, error
	Output     json.RawMessage `json:"output"`
	Message    string          `json:"message"`
	Error      struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
	Stats struct {
		Input  count `json:"input_tokens"` // cached ones included
		Output count `json:"output_tokens"`
		Cached count `json:"cached"`
	} `json:"stats"`
}

// report is the usage of the run.
func (l geminiLine) report() []Event {
	return tokens{prompt: l.Stats.Input, completion: l.Stats.Output, cached: l.Stats.Cached}.report(nil)
}

// tool is a step of the CLI's own tools.
func (l geminiLine) tool(names *toolNames) Event {
	if l.Type == "tool_use" {
		names.put(l.ToolID, l.ToolName)
		return Event{Kind: ToolUse, Tool: &Tool{ID: l.ToolID, Name: l.ToolName, Status: "started", Input: rawText(l.Parameters)}}
	}
	t := &Tool{ID: l.ToolID, Name: names.take(l.ToolID), Status: "completed", Output: rawText(l.Output)}
	if l.Status != "success" {
		t.Status = "failed"
		if t.Output == "" {
			t.Output = bound(l.Error.Message, ToolTextMax)
		}
	}
	return Event{Kind: ToolUse, Tool: t}
}

// geminiStatus finds the provider's status in an error's text, for a login whose
// model calls don't go through fetch. For 429 the CLI puts advice of its own
// where the provider's message has no status.
func geminiStatus(message string) int {
	for _, advice := range []string{"request a quota increase through", "Possible quota limitations in place"} {
		if strings.Contains(message, advice) {
			return 429
		}
	}
	return statusIn(message)
}
