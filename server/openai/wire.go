package openai

import (
	"encoding/json"

	"penstock/backend"
	"penstock/outcome"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Completion is a chat.completion or one chat.completion.chunk.
type Completion struct {
	ID       string           `json:"id"`
	Object   string           `json:"object"`
	Created  int64            `json:"created"` // Unix seconds
	Model    string           `json:"model"`
	Choices  []Choice         `json:"choices"`
	Usage    *Usage           `json:"usage,omitempty"`
	Cost     *Cost            `json:"x_cost,omitempty"`
	Receipt  *outcome.Receipt `json:"x_receipt,omitempty"`
	Metadata json.RawMessage  `json:"metadata,omitempty"`
	Error    *web.ErrorBody   `json:"error,omitempty"`
}

type Choice struct {
	Index   int            `json:"index"`
	Delta   *Delta         `json:"delta,omitempty"`
	Message *AnswerMessage `json:"message,omitempty"`
	Finish  *string        `json:"finish_reason"`
}

// Delta is one step of a streamed answer.
type Delta struct {
	Role      string        `json:"role,omitempty"`
	Content   *string       `json:"content,omitempty"`
	Reasoning string        `json:"reasoning_content,omitempty"`
	Tool      *backend.Tool `json:"x_tool,omitempty"`
}

// AnswerMessage is a whole answer.
type AnswerMessage struct {
	Role      string         `json:"role"`
	Content   string         `json:"content"`
	Reasoning string         `json:"reasoning_content,omitempty"`
	Tools     []backend.Tool `json:"x_tool,omitempty"`
}

type Usage struct {
	Prompt     int64              `json:"prompt_tokens"`
	Completion int64              `json:"completion_tokens"`
	Total      int64              `json:"total_tokens"`
	PromptMore *promptDetails     `json:"prompt_tokens_details,omitempty"`
	AnswerMore *completionDetails `json:"completion_tokens_details,omitempty"`
}

type promptDetails struct {
	Cached int64 `json:"cached_tokens"`
}

type completionDetails struct {
	Reasoning int64 `json:"reasoning_tokens"`
}

// Cost says where its number comes from: we compute none ourselves.
type Cost struct {
	USD        float64 `json:"usd"`
	Provenance string  `json:"provenance"`
}

func usageOf(u *backend.Usage) (*Usage, *Cost) {
	if u == nil {
		return nil, nil
	}
	var price *Cost
	if u.CostUSD != nil {
		price = &Cost{USD: *u.CostUSD, Provenance: "cli"}
	}
	// Clients add the two up: one alone is no usage.
	if u.PromptTokens == nil || u.CompletionTokens == nil {
		return nil, price
	}
	out := &Usage{Prompt: *u.PromptTokens, Completion: *u.CompletionTokens, Total: *u.PromptTokens + *u.CompletionTokens}
	if u.CachedTokens != nil {
		out.PromptMore = &promptDetails{Cached: *u.CachedTokens}
	}
	if u.ReasoningTokens != nil {
		out.AnswerMore = &completionDetails{Reasoning: *u.ReasoningTokens}
	}
	return out, price
}

// newCompletion is the frame of all that is said of one answer: the same in each chunk and
// each replay.
func newCompletion(object string, a *dialect.Answer) Completion {
	return Completion{ID: "chatcmpl-" + a.Run, Object: object, Created: a.Created.Unix(), Model: a.Model, Choices: []Choice{}}
}

// finishReason is OpenAI's word for a completed run.
func finishReason(finish string) string {
	switch finish {
	case "length", "content_filter":
		return finish
	}
	return "stop"
}
