package openai

import (
	"encoding/json"

	"penstock/backend"
	"penstock/outcome"
	"penstock/server/dialect"
	"penstock/server/web"
)

// ResponseID is the prefix of a response's id.
const ResponseID = "resp"

// The kinds of the ids of output items.
const (
	messageID   = "msg"
	reasoningID = "rs"
	callItemID  = "mcp"
)

// What a response's status may be.
const (
	Queued     = "queued"
	InProgress = "in_progress"
	Completed  = "completed"
	Incomplete = "incomplete"
	Failed     = "failed"
	Cancelled  = "cancelled"
)

// Response is a response without its output, which is written where Output stands.
type Response struct {
	ID                string             `json:"id"`
	Object            string             `json:"object"`
	CreatedAt         int64              `json:"created_at"` // Unix seconds
	Status            string             `json:"status"`
	Background        bool               `json:"background"`
	Error             *ResponseError     `json:"error"`
	IncompleteDetails *IncompleteDetails `json:"incomplete_details"`
	Instructions      *string            `json:"instructions"`
	MaxOutputTokens   *int64             `json:"max_output_tokens"` // nothing holds an agent to it
	Model             string             `json:"model"`
	Output            []json.RawMessage  `json:"output"`
	ParallelToolCalls bool               `json:"parallel_tool_calls"`
	Previous          *string            `json:"previous_response_id"`
	PromptCacheKey    *string            `json:"prompt_cache_key,omitempty"`
	Reasoning         echoReasoning      `json:"reasoning"`
	SafetyIdentifier  *string            `json:"safety_identifier,omitempty"`
	Store             bool               `json:"store"`
	Temperature       *float64           `json:"temperature"` // nor to this
	Text              echoText           `json:"text"`
	ToolChoice        string             `json:"tool_choice"`
	Tools             []json.RawMessage  `json:"tools"`
	TopP              *float64           `json:"top_p"`
	Truncation        string             `json:"truncation"`
	Usage             *ResponseUsage     `json:"usage"`
	User              *string            `json:"user,omitempty"`
	Metadata          json.RawMessage    `json:"metadata"`
	Cause             web.Code           `json:"x_cause,omitempty"`
	Cost              *Cost              `json:"x_cost,omitempty"`
	Receipt           *outcome.Receipt   `json:"x_receipt,omitempty"`
	Session           *dialect.Session   `json:"x_session,omitempty"`
	UsageUnknown      *UsageUnknown      `json:"x_usage,omitempty"`
}

// ResponseError is why a response has failed. Its code is for the clients that act on it.
type ResponseError struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
}

type IncompleteDetails struct {
	Reason string `json:"reason"`
}

// ResponseUsage has all that clients count on. What the CLI doesn't tell is 0 there, and
// named in UsageUnknown.
type ResponseUsage struct {
	Input      int64         `json:"input_tokens"`
	InputMore  inputDetails  `json:"input_tokens_details"`
	Output     int64         `json:"output_tokens"`
	OutputMore outputDetails `json:"output_tokens_details"`
	Total      int64         `json:"total_tokens"`
}

// UsageUnknown names the members of the usage that are 0 because they are not known.
type UsageUnknown struct {
	Unknown []string `json:"unknown"`
}

type inputDetails struct {
	Cached int64 `json:"cached_tokens"`
}

type outputDetails struct {
	Reasoning int64 `json:"reasoning_tokens"`
}

// newResponse is what is said of a response at any time.
func newResponse(a *dialect.Answer, status string) Response {
	repeated := decodeEcho(a.Echo)
	return Response{
		ID: dialect.ID(ResponseID, a.Run), Object: "response", CreatedAt: a.Received.Unix(), Status: status,
		Background: repeated.Background, Instructions: repeated.Instructions, Model: a.Model, Output: []json.RawMessage{},
		ParallelToolCalls: repeated.ParallelToolCalls, Previous: repeated.Previous, PromptCacheKey: repeated.PromptCacheKey,
		Reasoning: repeated.Reasoning, SafetyIdentifier: repeated.SafetyIdentifier, Store: repeated.Store, Text: repeated.Text,
		ToolChoice: repeated.ToolChoice, Tools: []json.RawMessage{}, Truncation: repeated.Truncation, User: repeated.User, Metadata: repeated.Metadata,
	}
}

// ended adds how the run went.
func (r *Response) ended(e dialect.End) {
	r.used(e.Usage)
	r.Receipt, r.Session = e.Receipt, e.Session
	if len(e.Metadata) > 0 {
		r.Metadata = e.Metadata
	}
}

func (r *Response) used(u *backend.Usage) {
	counted, cost := usageOf(u)
	r.Cost = cost
	if counted == nil {
		return
	}
	r.Usage = &ResponseUsage{Input: counted.Prompt, Output: counted.Completion, Total: counted.Total}
	var unknown []string
	if counted.PromptMore != nil {
		r.Usage.InputMore.Cached = counted.PromptMore.Cached
	} else {
		unknown = append(unknown, "input_tokens_details.cached_tokens")
	}
	if counted.AnswerMore != nil {
		r.Usage.OutputMore.Reasoning = counted.AnswerMore.Reasoning
	} else {
		unknown = append(unknown, "output_tokens_details.reasoning_tokens")
	}
	if unknown != nil {
		r.UsageUnknown = &UsageUnknown{Unknown: unknown}
	}
}

// failed adds why there is no answer. What was begun must not be begun again, which the one
// code says that codex doesn't ask again after; what was turned away may be.
func (r *Response) failed(why *web.Error) {
	code := "invalid_prompt"
	if why.Refused {
		code = "rate_limit_exceeded"
	}
	r.Status = Failed
	if why.Code == web.Code(outcome.Cancelled) {
		r.Status = Cancelled
	}
	r.Error = &ResponseError{Code: code, Message: why.Message, Type: why.Kind}
	if why.Param != "" {
		r.Error.Param = &why.Param
	}
	r.Cause = why.Code
	if r.Receipt == nil {
		r.Receipt = why.Receipt
	}
}

// incompleteReason is OpenAI's word for what cut an answer short; "" is nothing.
func incompleteReason(finish string) string {
	switch finish {
	case "length":
		return "max_output_tokens"
	case contentFilter:
		return finish
	}
	return ""
}

// contentFilter is why a provider refused, and refusal the same to a client that would ask again
// at OpenAI's own word (dialect.Answer.Insistent).
const contentFilter, refusal = "content_filter", "refusal"

// ResponseState is a response that has no output to be shown: one that is not over, or that
// has failed, which why tells; nil is that it has not.
func ResponseState(a *dialect.Answer, status string, why *web.Error, e dialect.End) any {
	r := newResponse(a, status)
	r.ended(e)
	if why != nil {
		r.failed(why)
	}
	return r
}
