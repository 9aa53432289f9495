package codex

import (
	"encoding/json"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// Error is a TurnError of the app-server protocol.
type Error struct {
	Message string          `json:"message"`
	Details string          `json:"additionalDetails"`
	Info    json.RawMessage `json:"codexErrorInfo"` // a word, or {word: {httpStatusCode}}
}

// Text is the message, without the JSON around it that a 400 comes in.
func (e Error) Text() string {
	text := e.Message
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(text), &body) == nil && body.Error.Message != "" {
		text = body.Error.Message
	}
	if e.Details != "" {
		text += ": " + e.Details
	}
	return text
}

// Failure finds the provider's HTTP status where codex tells it: as a field, by
// a word that stands for one class of answers, else in the message.
func (e Error) Failure() *backend.Failure {
	status := e.status()
	if status == 0 {
		status = parse.StatusIn(e.Message)
	}
	failure := parse.ProviderFailure(status, e.Text())
	if status != 0 {
		return failure
	}
	switch e.word() {
	case "badRequest":
		failure.Status = 400
	case "unauthorized":
		failure.Code = "provider_auth"
	case "usageLimitExceeded", "rateLimitExceeded":
		failure.Code = "provider_rate_limit"
	case "internalServerError", "serverOverloaded", "flexUnavailable", "policyCapacityUnavailable",
		"httpConnectionFailed", "responseStreamConnectionFailed", "responseStreamDisconnected", "responseTooManyFailedAttempts":
		failure.Code = "provider_error"
	case "other":
		// An error inside the stream has no word of its own.
		if strings.HasPrefix(e.Message, "stream disconnected") {
			failure.Code = "provider_error"
		}
	}
	return failure
}

// finish is OpenAI's word for an answer that the provider didn't let come to its
// end; "stop" is none. codex tells both as errors (0.169.0 to 0.171.0).
func (e Error) finish() string {
	_, reason, _ := strings.Cut(e.Message, "Incomplete response returned, reason: ")
	return parse.FinishReason(reason)
}

// TurnFailed is the end of a turn that codex calls a failed one.
func TurnFailed(a *parse.Answer, e Error) backend.Event {
	if finish := e.finish(); finish != "stop" {
		return a.Done(finish)
	}
	return backend.Event{Kind: backend.Failed, Failure: e.Failure()}
}

// word is codex's name for the error, "" when it has none.
func (e Error) word() string {
	if word, ok := parse.Unquoted(e.Info); ok {
		return word
	}
	var info map[string]json.RawMessage
	if json.Unmarshal(e.Info, &info) != nil || len(info) != 1 {
		return ""
	}
	for word := range info {
		return word
	}
	return ""
}

func (e Error) status() int {
	var info map[string]struct {
		Status *int `json:"httpStatusCode"`
	}
	if json.Unmarshal(e.Info, &info) != nil {
		return 0
	}
	status := 0
	for _, variant := range info { // one; the greatest, should there be more
		if variant.Status != nil {
			status = max(status, *variant.Status)
		}
	}
	return status
}
