package web

import (
	"net/http"

	"penstock/outcome"
)

// Shape is the API in whose words a reply tells of a failure.
type Shape int

const (
	OpenAI Shape = iota
	Anthropic
)

// ErrorBody is OpenAI's error object with our additions. x_cause and x_receipt are there in
// each shape; code and receipt are the same by OpenAI's name, and by the one we had first.
type ErrorBody struct {
	Message  string           `json:"message"`
	Type     string           `json:"type"`
	Code     Code             `json:"code"`
	Param    *string          `json:"param"`
	RunID    string           `json:"run_id,omitempty"`
	Receipt  *outcome.Receipt `json:"receipt,omitempty"`
	Capacity bool             `json:"capacity,omitempty"`
	Dispatch string           `json:"provider_dispatch,omitempty"`
	XCause   Code             `json:"x_cause"`
	XReceipt *outcome.Receipt `json:"x_receipt,omitempty"`
}

// Body is the error as OpenAI's clients know it.
func (e *Error) Body() ErrorBody {
	b := ErrorBody{Message: e.Message, Type: e.Kind, Code: e.Code, RunID: e.RunID, Receipt: e.Receipt, XCause: e.Code, XReceipt: e.Receipt}
	if e.Param != "" {
		b.Param = &e.Param
	}
	if e.Refused {
		b.Capacity, b.Dispatch = true, "not_started"
	}
	return b
}

// AnthropicBody is a reply, or an event, that tells an Anthropic client of an error.
type AnthropicBody struct {
	Type      string         `json:"type"` // "error"
	Error     AnthropicError `json:"error"`
	RequestID string         `json:"request_id,omitempty"`
}

// AnthropicError is Anthropic's error object with our additions.
type AnthropicError struct {
	Type     string           `json:"type"`
	Message  string           `json:"message"`
	Param    string           `json:"param,omitempty"`
	RunID    string           `json:"run_id,omitempty"`
	XCause   Code             `json:"x_cause"`
	XReceipt *outcome.Receipt `json:"x_receipt,omitempty"`
}

// The types that only Anthropic's errors have; the others are those of codes.go.
const (
	anthropicTooLarge   = "request_too_large"
	anthropicTimeout    = "timeout_error"
	anthropicOverloaded = "overloaded_error"
	anthropicServer     = "api_error"
)

// AnthropicBody is the error as Anthropic's clients know it, in a reply of its own.
func (e *Error) AnthropicBody(requestID string) AnthropicBody {
	return AnthropicBody{Type: "error", RequestID: requestID, Error: AnthropicError{
		Type: e.anthropicType(), Message: e.Message, Param: e.Param, RunID: e.RunID, XCause: e.Code, XReceipt: e.Receipt,
	}}
}

// AnthropicEvent is the error inside of a stream. No status and no x-should-retry is told there, and Claude
// Code repeats an api_error four times: what is not to be repeated is no api_error.
func (e *Error) AnthropicEvent(requestID string) AnthropicBody {
	b := e.AnthropicBody(requestID)
	if e.Retry != nil && !*e.Retry {
		b.Error.Type = kindInvalid
	}
	return b
}

func (e *Error) anthropicType() string {
	switch {
	case e.Code == BodyTooLarge:
		return anthropicTooLarge
	case e.Code == BodyTimeout:
		return anthropicTimeout
	case e.Kind == KindRun:
		return kindInvalid
	case e.Kind == kindCapacity:
		return anthropicOverloaded
	case e.Kind == KindServer:
		return anthropicServer
	}
	return e.Kind
}

// statusOverloaded is Anthropic's own: our lack of room, where their 429 is a limit of the
// client's account.
const statusOverloaded = 529

// statusRun is what no Anthropic client repeats, of a run that failed: Claude Code sends a
// request six times at a 400 or 422, whatever x-should-retry says.
const statusRun = http.StatusNotAcceptable

// status is that of a reply that has not begun.
func (s Shape) status(e *Error) int {
	switch {
	case s == OpenAI:
	case e.Kind == KindRun && e.Status == http.StatusBadRequest:
		return statusRun
	case e.Status == http.StatusTooManyRequests:
		return statusOverloaded
	}
	return e.Status
}
