package parse

import (
	"strings"
	"testing"
	"unicode/utf8"

	"penstock/backend"
)

func TestFinishReason(t *testing.T) {
	for word, want := range map[string]string{
		"": "stop", "end_turn": "stop", "STOP": "stop", "tool_calls": "stop",
		"max_tokens": "length", "MAX_TOKENS": "length", "length": "length", "max_output_tokens": "length",
		"refusal": "content_filter", "SAFETY": "content_filter", "PROHIBITED_CONTENT": "content_filter", "content_filter": "content_filter", "BLOCKED": "content_filter",
	} {
		if got := FinishReason(word); got != want {
			t.Errorf("%q is %s, want %s", word, got, want)
		}
	}
}

func TestProviderFailure(t *testing.T) {
	for status, want := range map[int]string{
		0: "cli_error", 400: "cli_error", 404: "cli_error", 401: "provider_auth", 403: "provider_auth",
		429: "provider_rate_limit", 500: "provider_error", 503: "provider_error", 529: "provider_error", 600: "cli_error", -1: "cli_error",
	} {
		if got := ProviderFailure(status, "m"); got.Code != want || got.Status != status {
			t.Errorf("%d: %+v, want %s", status, got, want)
		}
	}
	if f := ProviderFailure(0, " \n"); f.Message == "" {
		t.Error("a failure without a message")
	}
	if f := ProviderFailure(0, strings.Repeat("ü", FailureMax)); len(f.Message) > FailureMax || !utf8.ValidString(f.Message) {
		t.Errorf("%d bytes", len(f.Message))
	}
}

func TestStatusIn(t *testing.T) {
	for message, want := range map[string]int{
		"":                                   0,
		`401: {"message":"x"}`:               401,
		"429 status code (no body)":          429,
		"unexpected status 529 <unknown>: x": 529,
		"exceeded retry limit, last status: 429 Too Many Requests": 429,
		"API Error: 500 scripted":                                  500,
		`{"statusCode":503}`:                                       503,
		"HTTP 403":                                                 403,
		"terminated":                                               0,
		"read 512 bytes":                                           0,
		"took 429ms, error 429ms":                                  0,
		"error 42.9":                                               0,
		"error 4290":                                               0,
		"status 200 then status 502":                               502,
		"error 500.5":                                              0,
		"listening on 127.0.0.1:500":                               0,
	} {
		if got := StatusIn(message); got != want {
			t.Errorf("%q: %d, want %d", message, got, want)
		}
	}
}

func TestBound(t *testing.T) {
	for _, row := range []struct {
		in   string
		max  int
		want string
	}{
		{"short", 10, "short"}, {"0123456789", 10, "0123456789"}, {"0123456789a", 10, "0123456…"}, {"üüüüü", 8, "üü…"},
	} {
		if got := Bound(row.in, row.max); got != row.want || len(got) > row.max && len(row.in) > row.max {
			t.Errorf("bound(%q, %d) = %q, want %q", row.in, row.max, got, row.want)
		}
	}
	big := `["` + strings.Repeat("ü", backend.ToolTextMax) + `"]`
	for _, raw := range []string{big, `"` + strings.Repeat("ü", backend.ToolTextMax) + `"`} {
		if got := RawText([]byte(raw)); len(got) > backend.ToolTextMax || !utf8.ValidString(got) {
			t.Errorf("rawText gives %d bytes, valid %v", len(got), utf8.ValidString(got))
		}
	}
	if got := ContentText([]byte(`[{"text":"a"},{"type":"image"},{"text":"b"}]`)); got != "ab" {
		t.Errorf("contentText %q", got)
	}
}
