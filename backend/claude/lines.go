package claude

import (
	"encoding/json"

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
	retry
	result
}

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

// report is the usage in OpenAI's words.
func (r result) report() []backend.Event {
	u := r.Usage
	return parse.Tokens{
		Prompt: u.Input.With(u.CacheRead, u.CacheCreation), Completion: u.Output,
		Cached: u.CacheRead, Reasoning: u.Details.Thinking,
	}.Report(r.TotalCostUSD)
}
