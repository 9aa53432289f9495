package anthropic

import (
	"bytes"
	"encoding/json"

	"penstock/backend"
	"penstock/outcome"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Prefix is that of a message's id.
const Prefix = "msg"

// message is a whole answer, or the frame of a stream's.
type message struct {
	ID         string  `json:"id"`
	Type       string  `json:"type"` // "message"
	Role       string  `json:"role"` // "assistant"
	Model      string  `json:"model"`
	Content    []block `json:"content"`
	StopReason *string `json:"stop_reason"`
	StopText   *string `json:"stop_sequence"`
	Usage      usage   `json:"usage"`
	extras
}

// extras are penstock's own.
type extras struct {
	UsageNote *usageNote       `json:"x_usage,omitempty"`
	Cost      *cost            `json:"x_cost,omitempty"`
	Receipt   *outcome.Receipt `json:"x_receipt,omitempty"`
	Session   *dialect.Session `json:"x_session,omitempty"`
	Metadata  json.RawMessage  `json:"x_metadata,omitempty"`
}

// block is one of a message's content: the fields of all kinds.
type block struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text,omitempty"`
	Thinking  *string         `json:"thinking,omitempty"`
	Signature *string         `json:"signature,omitempty"`
	ID        string          `json:"id,omitempty"`
	ToolUseID string          `json:"tool_use_id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Server    string          `json:"server_name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
	IsError   *bool           `json:"is_error,omitempty"`
	Content   []block         `json:"content,omitempty"`
}

// usage always has both figures: clients (Claude Code, pi) crash without. What is not known is
// 0, and usageNote says so.
type usage struct {
	Input     int64  `json:"input_tokens"` // without cached ones
	CacheRead *int64 `json:"cache_read_input_tokens,omitempty"`
	Output    int64  `json:"output_tokens"`
}

type usageNote struct {
	Unknown []string `json:"unknown"` // fields of usage
}

// cost says where its number comes from: penstock computes none.
type cost struct {
	USD        float64 `json:"usd"`
	Provenance string  `json:"provenance"`
}

func usageOf(u *backend.Usage) (out usage, note *usageNote) {
	if u == nil {
		u = &backend.Usage{}
	}
	var unknown []string
	if u.PromptTokens == nil {
		unknown = append(unknown, "input_tokens")
	} else {
		out.Input = *u.PromptTokens
		if u.CachedTokens != nil && *u.CachedTokens <= out.Input {
			out.Input -= *u.CachedTokens
			out.CacheRead = u.CachedTokens
		}
	}
	if u.CompletionTokens == nil {
		unknown = append(unknown, "output_tokens")
	} else {
		out.Output = *u.CompletionTokens
	}
	if unknown != nil {
		note = &usageNote{unknown}
	}
	return out, note
}

func extrasOf(e dialect.End, note *usageNote) extras {
	x := extras{UsageNote: note, Receipt: e.Receipt, Session: e.Session, Metadata: e.Metadata}
	if e.Usage != nil && e.Usage.CostUSD != nil {
		x.Cost = &cost{*e.Usage.CostUSD, "cli"}
	}
	return x
}

// newMessage is the frame of all that is said of one answer.
func newMessage(a *dialect.Answer) message {
	return message{ID: dialect.ID(Prefix, a.Run), Type: "message", Role: dialect.Assistant, Model: a.Model, Content: []block{}}
}

// stopReason is Anthropic's word for how a run completed.
func stopReason(finish string) string {
	switch finish {
	case "length":
		return "max_tokens"
	case "content_filter":
		return refusal
	}
	return "end_turn"
}

const refusal = "refusal"

// toolBlocks are the agent's own tool uses as blocks that clients show and none executes
// (seen with the SDKs, Vercel, LangChain and Claude Code). A tool that is told of at its end
// only has both then.
type toolBlocks struct {
	run, server string
	ids         map[string]string // of uses without a result yet, by the CLI's own
}

// toolsMax bounds how many are remembered; a result of a forgotten one has a use of its own.
const toolsMax = 256

// of gives the blocks of one step, of which the first will be at index.
func (t *toolBlocks) of(tool *backend.Tool, index int) []block {
	id, known := t.ids[tool.ID]
	if tool.Status == "started" && known && tool.ID != "" {
		return nil // told again
	}
	var out []block
	if !known || tool.Status == "started" {
		id = dialect.ItemID("mcptoolu", index, t.run)
		out = append(out, block{Type: "mcp_tool_use", ID: id, Name: toolName(tool.Name), Server: t.server, Input: inputObject(tool.Input)})
	}
	if tool.Status == "started" {
		if t.ids == nil {
			t.ids = map[string]string{}
		}
		if len(t.ids) < toolsMax {
			t.ids[tool.ID] = id
		}
		return out
	}
	delete(t.ids, tool.ID)
	failed, text := tool.Status == "failed", tool.Output
	return append(out, block{Type: "mcp_tool_result", ToolUseID: id, IsError: &failed, Content: []block{{Type: "text", Text: &text}}})
}

func toolName(name string) string {
	if name == "" {
		return "tool"
	}
	return name
}

// inputObject is a tool's input as the JSON object that it has to be.
func inputObject(input string) json.RawMessage {
	raw := json.RawMessage(input)
	if web.KindOf(raw) == '{' && json.Valid(raw) {
		var out bytes.Buffer
		if json.Compact(&out, raw) == nil {
			return out.Bytes()
		}
	}
	if input == "" {
		return json.RawMessage("{}")
	}
	out, err := web.Marshal(map[string]string{"input": input})
	if err != nil {
		return json.RawMessage("{}")
	}
	return out
}
