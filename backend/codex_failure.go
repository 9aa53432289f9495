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

func (e codexError) text() string {
	if e.Details != "" {
		return e.Message + ": " + e.Details
	}
	return e.Message
}

// failure finds the provider's HTTP status where codex tells it: as a field, by
// a word that stands for one class of answers, else in the message.
func (e codexError) failure() *Failure {
	message := e.text()
	status := e.status()
	if status == 0 {
		status = statusIn(message)
	}
	failure := providerFailure(status, message)
	if strings.Contains(message, "stream disconnected") && failure.Code == "cli_error" {
		failure.Code = "provider_error" // the provider broke off; there is no status in it
	}
	var word string
	if json.Unmarshal(e.Info, &word) != nil {
		return failure
	}
	switch word {
	case "unauthorized":
		failure.Code = "provider_auth"
	case "usageLimitExceeded", "rateLimitExceeded":
		failure.Code = "provider_rate_limit"
	case "serverOverloaded", "internalServerError", "flexUnavailable":
		failure.Code = "provider_error"
	}
	return failure
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
