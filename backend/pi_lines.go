package backend

import "encoding/json"

// piLine is one line of `--mode json` (pi 0.87.1), as far as it matters here.
type piLine struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"` // session
	Message piMessage `json:"message"`
	Update  struct {
		Type    string `json:"type"`
		Delta   words  `json:"delta"`
		Content words  `json:"content"` // text_end: the block, whole
	} `json:"assistantMessageEvent"`

	ToolCallID string          `json:"toolCallId"`
	ToolName   string          `json:"toolName"`
	Args       json.RawMessage `json:"args"`
	Result     struct {
		Content json.RawMessage `json:"content"`
	} `json:"result"`
	IsError bool `json:"isError"`

	Attempt      int    `json:"attempt"` // auto_retry_start
	MaxAttempts  int    `json:"maxAttempts"`
	ErrorMessage string `json:"errorMessage"`
}

type piMessage struct {
	Role         string   `json:"role"`
	StopReason   string   `json:"stopReason"`
	RawStop      string   `json:"rawStopReason"` // the provider's own word
	ErrorMessage string   `json:"errorMessage"`
	Usage        *piUsage `json:"usage"`
}

type piUsage struct {
	Input      count `json:"input"` // without cached ones
	Output     count `json:"output"`
	CacheRead  count `json:"cacheRead"`
	CacheWrite count `json:"cacheWrite"`
	Reasoning  count `json:"reasoning"`
	Cost       struct {
		Total *float64 `json:"total"`
	} `json:"cost"`
}

// piTotals are the figures of all model calls of the run.
type piTotals struct {
	prompt, completion, cached, reasoning total
	cost                                  *float64
	unpriced                              bool // a call told no price
}

// add counts one more call of the model in.
func (t *piTotals) add(u piUsage) {
	t.prompt.add(u.Input.with(u.CacheRead, u.CacheWrite))
	t.completion.add(u.Output)
	t.cached.add(u.CacheRead)
	t.reasoning.add(u.Reasoning)
	cost := price(u.Cost.Total)
	t.unpriced = t.unpriced || cost == nil
	switch {
	case t.unpriced:
		t.cost = nil
	case t.cost == nil:
		t.cost = cost
	default:
		sum := *t.cost + *cost
		t.cost = &sum
	}
}

func (t piTotals) report() []Event {
	return tokens{t.prompt.sum, t.completion.sum, t.cached.sum, t.reasoning.sum}.report(t.cost)
}
