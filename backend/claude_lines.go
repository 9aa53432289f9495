package backend

import "encoding/json"

// claudeLine is one line of `--output-format stream-json` (claude 2.1.330), as
// far as it matters here.
type claudeLine struct {
	Type      string        `json:"type"`
	Subtype   string        `json:"subtype"`
	Parent    *string       `json:"parent_tool_use_id"` // set: a subagent speaks
	SessionID string        `json:"session_id"`
	Event     claudeEvent   `json:"event"`
	Message   claudeMessage `json:"message"`
	Error     string        `json:"error"` // of a synthetic message: authentication_failed, rate_limit, ...
	// Abandoned, at message_stop: the stream broke; a replacement of what was
	// sent from that block on follows.
	Abandoned *struct {
		From int `json:"from_block_index"`
	} `json:"abandoned_blocks"`
	claudeRetry
	claudeResult
}

// claudeEvent is an event of the Anthropic Messages stream.
type claudeEvent struct {
	Type    string `json:"type"`
	Index   int    `json:"index"`
	Message struct {
		ID string `json:"id"`
	} `json:"message"`
	Delta struct {
		Type       string `json:"type"`
		Text       words  `json:"text"`
		Thinking   words  `json:"thinking"`
		StopReason string `json:"stop_reason"`
	} `json:"delta"`
}

// claudeMessage is a whole message, or a part of it that is complete.
type claudeMessage struct {
	ID      string          `json:"id"`
	Model   string          `json:"model"`
	Content json.RawMessage `json:"content"` // a string, or blocks
}

type claudeBlock struct {
	Type      string          `json:"type"`
	Text      words           `json:"text"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	IsError   bool            `json:"is_error"`
}

// claudeRetry is system/api_retry.
type claudeRetry struct {
	Attempt     int  `json:"attempt"`
	MaxRetries  int  `json:"max_retries"`
	ErrorStatus *int `json:"error_status"`
}

// claudeResult is the last line. A provider's error has subtype "success": only
// is_error tells.
type claudeResult struct {
	IsError        bool        `json:"is_error"`
	Result         words       `json:"result"`
	Errors         []string    `json:"errors"`
	StopReason     string      `json:"stop_reason"`
	TerminalReason string      `json:"terminal_reason"`
	APIErrorStatus *int        `json:"api_error_status"`
	TotalCostUSD   *float64    `json:"total_cost_usd"`
	Usage          claudeUsage `json:"usage"`
}

type claudeUsage struct {
	Input         count `json:"input_tokens"` // without cached ones
	CacheRead     count `json:"cache_read_input_tokens"`
	CacheCreation count `json:"cache_creation_input_tokens"`
	Output        count `json:"output_tokens"`
	Details       struct {
		Thinking count `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// blocks of a message; none when its content is plain text or broken.
func (m claudeMessage) blocks() []claudeBlock {
	var blocks []claudeBlock
	if json.Unmarshal(m.Content, &blocks) != nil {
		return nil
	}
	return blocks
}

// report is the usage in OpenAI's words.
func (r claudeResult) report() []Event {
	u := r.Usage
	return tokens{
		prompt: u.Input.with(u.CacheRead, u.CacheCreation), completion: u.Output,
		cached: u.CacheRead, reasoning: u.Details.Thinking,
	}.report(r.TotalCostUSD)
}
