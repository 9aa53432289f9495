package backend

import "encoding/json"

// piLine is one line of `--mode json` (pi 0.87.1), as far as it matters here.
type piLine struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"` // session
	Message piMessage `json:"message"`
	Update  struct {
		Type  string `json:"type"`
		Delta string `json:"delta"`
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
	ErrorMessage string   `json:"errorMessage"`
	Usage        *piUsage `json:"usage"`
}

type piUsage struct {
	Input      int64  `json:"input"` // without cached ones
	Output     int64  `json:"output"`
	CacheRead  int64  `json:"cacheRead"`
	CacheWrite int64  `json:"cacheWrite"`
	Reasoning  *int64 `json:"reasoning"`
	Cost       *struct {
		Total float64 `json:"total"`
	} `json:"cost"`
}

// add counts one more call of the model in.
func (u *Usage) add(p piUsage) {
	u.PromptTokens += p.Input + p.CacheRead + p.CacheWrite
	u.CompletionTokens += p.Output
	u.CachedTokens = sum(u.CachedTokens, &p.CacheRead)
	u.ReasoningTokens = sum(u.ReasoningTokens, p.Reasoning)
	if p.Cost != nil {
		u.CostUSD = sum(u.CostUSD, &p.Cost.Total)
	}
}

// sum of figures that may be absent; absent when both are.
func sum[N int64 | float64](a, b *N) *N {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	total := *a + *b
	return &total
}
