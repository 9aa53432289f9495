package server

import (
	"encoding/json"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run"
	"penstock/server/web"
)

// completion is a chat.completion or one chat.completion.chunk.
type completion struct {
	ID       string           `json:"id"`
	Object   string           `json:"object"`
	Created  int64            `json:"created"` // Unix seconds
	Model    string           `json:"model"`
	Choices  []choice         `json:"choices"`
	Usage    *usage           `json:"usage,omitempty"`
	Cost     *cost            `json:"x_cost,omitempty"`
	Receipt  *outcome.Receipt `json:"x_receipt,omitempty"`
	Metadata json.RawMessage  `json:"metadata,omitempty"`
	Error    *web.ErrorBody   `json:"error,omitempty"`
}

type choice struct {
	Index   int            `json:"index"`
	Delta   *delta         `json:"delta,omitempty"`
	Message *answerMessage `json:"message,omitempty"`
	Finish  *string        `json:"finish_reason"`
}

// delta is one step of a streamed answer.
type delta struct {
	Role      string        `json:"role,omitempty"`
	Content   *string       `json:"content,omitempty"`
	Reasoning string        `json:"reasoning_content,omitempty"`
	Tool      *backend.Tool `json:"x_tool,omitempty"`
}

// answerMessage is a whole answer.
type answerMessage struct {
	Role      string         `json:"role"`
	Content   string         `json:"content"`
	Reasoning string         `json:"reasoning_content,omitempty"`
	Tools     []backend.Tool `json:"x_tool,omitempty"`
}

type usage struct {
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

// cost says where its number comes from: we compute none ourselves.
type cost struct {
	USD        float64 `json:"usd"`
	Provenance string  `json:"provenance"`
}

func usageOf(u *backend.Usage) (*usage, *cost) {
	if u == nil {
		return nil, nil
	}
	var price *cost
	if u.CostUSD != nil {
		price = &cost{USD: *u.CostUSD, Provenance: "cli"}
	}
	// Clients add the two up: one alone is no usage.
	if u.PromptTokens == nil || u.CompletionTokens == nil {
		return nil, price
	}
	out := &usage{Prompt: *u.PromptTokens, Completion: *u.CompletionTokens, Total: *u.PromptTokens + *u.CompletionTokens}
	if u.CachedTokens != nil {
		out.PromptMore = &promptDetails{Cached: *u.CachedTokens}
	}
	if u.ReasoningTokens != nil {
		out.AnswerMore = &completionDetails{Reasoning: *u.ReasoningTokens}
	}
	return out, price
}

// newCompletion is the frame of every answer of one run: the same in each
// chunk and each replay.
func newCompletion(object string, r run.Record) completion {
	return completion{ID: "chatcmpl-" + r.ID, Object: object, Created: r.Created.Unix(), Model: r.Model, Choices: []choice{}}
}

// newChunk is newCompletion for a stream. By pointer: a record and an answer on
// the stack of each stream would double it, for as long as it lasts.
func newChunk(r *run.Run) *completion {
	c := newCompletion("chat.completion.chunk", r.Record())
	return &c
}

// finishReason is OpenAI's word for a completed run.
func finishReason(r run.Record) string {
	switch r.Finish {
	case "length", "content_filter":
		return r.Finish
	}
	return "stop"
}
