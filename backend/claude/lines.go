package claude

import (
	"encoding/json"
	"slices"

	"penstock/backend"
	"penstock/backend/parse"
)

// outputLine is one line of `--output-format stream-json` (claude 2.1.330), as
// far as it matters here.
type outputLine struct {
	Type      string      `json:"type"`
	Subtype   string      `json:"subtype"`
	Parent    *string     `json:"parent_tool_use_id"` // set: a subagent speaks
	SessionID string      `json:"session_id"`
	Event     streamEvent `json:"event"`
	Message   message     `json:"message"`
	Error     string      `json:"error"` // of a synthetic message: authentication_failed, rate_limit, ...
	// Abandoned, at message_stop: the stream broke; a replacement of what was
	// sent from that block on follows.
	Abandoned *struct {
		From int `json:"from_block_index"`
	} `json:"abandoned_blocks"`
	Tools     []string        `json:"tools"`      // system/init
	RequestID string          `json:"request_id"` // control_request
	Response  controlResponse `json:"response"`
	retry
	result
}

// controlResponse answers a control_request of ours.
type controlResponse struct {
	Subtype string `json:"subtype"` // success, error
	ID      string `json:"request_id"`
	Error   string `json:"error"`
}

// offers tells whether the model has a tool.
func (l outputLine) offers(tool string) bool { return slices.Contains(l.Tools, tool) }

// streamEvent is an event of the Anthropic Messages stream.
type streamEvent struct {
	Type    string `json:"type"`
	Index   int    `json:"index"`
	Message struct {
		ID string `json:"id"`
	} `json:"message"`
	Delta struct {
		Type       string         `json:"type"`
		Text       parse.JSONText `json:"text"`
		Thinking   parse.JSONText `json:"thinking"`
		StopReason string         `json:"stop_reason"`
	} `json:"delta"`
}

// message is a whole message, or a part of it that is complete.
type message struct {
	ID      string          `json:"id"`
	Model   string          `json:"model"`
	Content json.RawMessage `json:"content"` // a string, or blocks
}

type contentBlock struct {
	Type      string          `json:"type"`
	Text      parse.JSONText  `json:"text"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	IsError   bool            `json:"is_error"`
}

// retry is system/api_retry.
type retry struct {
	Attempt     int  `json:"attempt"`
	MaxRetries  int  `json:"max_retries"`
	ErrorStatus *int `json:"error_status"`
}

// result is the last line. A provider's error has subtype "success": only
// is_error tells.
type result struct {
	IsError        bool           `json:"is_error"`
	Result         parse.JSONText `json:"result"`
	Errors         []string       `json:"errors"`
	StopReason     string         `json:"stop_reason"`
	TerminalReason string         `json:"terminal_reason"`
	APIErrorStatus *int           `json:"api_error_status"`
	TotalCostUSD   *float64       `json:"total_cost_usd"`
	Usage          usage          `json:"usage"`
	// Structured is the answer that keeps to a schema; null where none does.
	Structured json.RawMessage `json:"structured_output"`
}

type usage struct {
	Input         parse.Count `json:"input_tokens"` // without cached ones
	CacheRead     parse.Count `json:"cache_read_input_tokens"`
	CacheCreation parse.Count `json:"cache_creation_input_tokens"`
	Output        parse.Count `json:"output_tokens"`
	Details       struct {
		Thinking parse.Count `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// blocks of a message; none when its content is plain text or broken.
func (m message) blocks() []contentBlock {
	var blocks []contentBlock
	if json.Unmarshal(m.Content, &blocks) != nil {
		return nil
	}
	return blocks
}

// totals are the figures of all turns so far.
type totals struct{ prompt, completion, cached, reasoning parse.Total }

func (t *totals) add(u usage) {
	t.prompt.Add(u.Input.With(u.CacheRead, u.CacheCreation))
	t.completion.Add(u.Output)
	t.cached.Add(u.CacheRead)
	t.reasoning.Add(u.Details.Thinking)
}

// report is the usage in OpenAI's words. The cost is the CLI's own total.
func (t totals) report(cost *float64) []backend.Event {
	return parse.Tokens{Prompt: t.prompt.Sum, Completion: t.completion.Sum, Cached: t.cached.Sum, Reasoning: t.reasoning.Sum}.Report(cost)
}
