package parse

import (
	"strings"

	"penstock/backend"
)

// FailureMax bounds Failure.Message, in bytes.
const FailureMax = 4 << 10

// ProviderFailure names what the provider's HTTP status means; status 0, and a
// refusal that no retry or login mends (400, 404, ...), is the CLI's own error.
func ProviderFailure(status int, message string) *backend.Failure {
	code := "cli_error"
	switch {
	case status == 401, status == 403:
		code = "provider_auth"
	case status == 429:
		code = "provider_rate_limit"
	case status >= 500 && status <= 599:
		code = "provider_error"
	}
	message = strings.TrimSpace(message)
	if message == "" {
		message = "the CLI reported an error without a message"
	}
	return &backend.Failure{Code: code, Status: status, Message: Bound(message, FailureMax)}
}

// NoLogin is a CLI's word that it has no login or key for the model's provider.
func NoLogin(message string) *backend.Failure {
	f := ProviderFailure(0, message)
	f.Code = "provider_auth"
	return f
}

// UnsupportedInput is what the CLI, or its model, can't be given.
func UnsupportedInput(message string) *backend.Failure {
	f := ProviderFailure(0, message)
	f.Code = "unsupported_input"
	return f
}

// SessionUnknown is a CLI that refused to resume a session it doesn't have.
func SessionUnknown(message string) *backend.Failure {
	f := ProviderFailure(0, message)
	f.SessionUnknown = true
	return f
}

// StatusIn finds the provider's HTTP status in a CLI's message, for CLIs that
// tell it nowhere else: the first number from 400 to 599 that stands alone at
// the message's start or after one of the words that announce a status. 0 is none.
func StatusIn(message string) int {
	for i := 0; i < len(message); {
		if !digit(message[i]) {
			i++
			continue
		}
		end := i
		for end < len(message) && digit(message[end]) {
			end++
		}
		if status := threeDigits(message[i:end]); status >= 400 && status < 600 && announces(message[:i]) && !joined(message[end:]) {
			return status
		}
		i = end
	}
	return 0
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

func threeDigits(s string) int {
	if len(s) != 3 {
		return 0
	}
	return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
}

// joined is true when what follows makes the number part of a longer word or figure.
func joined(rest string) bool {
	if rest == "" {
		return false
	}
	c := rest[0]
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || (c == '.' || c == ',') && len(rest) > 1 && digit(rest[1])
}

// announces is true when the text before a number says that it is a status.
func announces(text string) bool {
	text = strings.ToLower(strings.TrimRight(text, " \t:=\"'(["))
	if text == "" {
		return true
	}
	for _, word := range []string{"status", "statuscode", "status_code", "code", "http", "error", "http/1.1", "http/2"} {
		if strings.HasSuffix(text, word) {
			return true
		}
	}
	return false
}

// FinishReason is OpenAI's word for why a model stopped, from its provider's.
// All that is neither the token limit nor a refusal for safety is "stop".
func FinishReason(providers string) string {
	switch strings.ToLower(providers) {
	case "length", "max_tokens", "max_output_tokens", "continuation", "model_context_window_exceeded":
		return "length"
	case "content_filter", "refusal", "sensitive", "safety", "recitation", "blocklist", "prohibited_content", "spii",
		"image_safety", "image_prohibited_content", "image_recitation", "model_armor", "guardrail_intervened", "content_filtered", "blocked":
		return "content_filter"
	}
	return "stop"
}
