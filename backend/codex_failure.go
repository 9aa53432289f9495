package backend

import (
	"encoding/json"
	"strings"
)

// codexError is a TurnError of the app-server protocol.
type codexError struct {
	Message string          `json:"message"`
	Details string          `json:"additionalDetails"`
	Info    json.RawMessage `json:"codexErrorInfo"` // a word, or {word: {httpStatusCode}}
}

// text is the message, without the JSON around it that a 400 comes in.
func (e codexError) text() string {
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

// failure finds the provider's HTTP status where codex tells it: as a field, by
// a word that stands for one class of answers, else in the message.
func (e codexError) failure() *Failure {
	status := e.status()
	if status == 0 {
		status = statusIn(e.Message)
	}
	failure := providerFailure(status, e.text())
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
func (e codexError) finish() string {
	_, reason, _ := strings.Cut(e.Message, "Incomplete response returned, reason: ")
	return finishReason(reason)
}

// failed is the end of a turn that codex calls a failed one.
func (a *answer) failed(e codexError) Event {
	if finish := e.finish(); finish != "stop" {
		return a.done(finish)
	}
	return Event{Kind: Failed, Failure: e.failure()}
}

// word is codex's name for the error, "" when it has none.
func (e codexError) word() string {
	if word, ok := unquoted(e.Info); ok {
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

func (e codexError) status() int {
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
