package kinds

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/backend/pi"
)

func piSays(t *testing.T, l ...string) said {
	t.Helper()
	return listen(t, feed(pi.New(backend.Config{}).Machine(backend.Request{}), lines(l...)))
}

func TestPi_Ends(t *testing.T) {
	end := func(stop, message string) string {
		return `{"type":"message_end","message":{"role":"assistant","stopReason":"` + stop + `","errorMessage":"` + message + `"}}`
	}
	const settled = `{"type":"agent_settled"}`
	for _, row := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"stop", []string{end("stop", ""), settled}, "stop"},
		{"refused by Anthropic", []string{end("error", "The model refused to complete the request"), settled}, "content_filter"},
		{"refused by Google", []string{end("error", "Provider stopped with: SAFETY"), settled}, "content_filter"},
		{"refused, in the provider's word", []string{`{"type":"message_end","message":{"role":"assistant","stopReason":"error","errorMessage":"x","rawStopReason":"incomplete.content_filter"}}`, settled}, "content_filter"},
		{"not a refusal", []string{end("error", "Provider finish_reason: network_error"), settled}, "provider_error"},
		{"no key", []string{end("error", "No API key found for openai."), settled}, "provider_auth"},
		{"length", []string{end("length", ""), settled}, "length"},
		{"error", []string{end("error", "529: overloaded"), settled}, "provider_error 529"},
		{"no connection", []string{end("error", "fetch failed"), settled}, "provider_error"},
		{"aborted", []string{end("aborted", ""), settled}, "cli_error"},
		{"no answer at all", []string{settled}, "cli_error"},
		{"agent_end is not the end", []string{end("error", "500: x"), `{"type":"agent_end","willRetry":true}`}, "nothing"},
		{"the user's message is no answer", []string{`{"type":"message_end","message":{"role":"user","stopReason":"stop"}}`, settled}, "cli_error"},
		{"only a session", []string{`{"type":"session","id":"s"}`}, "nothing"},
	} {
		if got := piSays(t, row.lines...).ended(); got != row.want {
			t.Errorf("%s: ended with %s, want %s", row.name, got, row.want)
		}
	}
}

// A failed message is taken back also when the retry isn't announced.
func TestPi_VoidsWithoutNotice(t *testing.T) {
	s := piSays(t,
		`{"type":"message_start","message":{"role":"assistant"}}`,
		`{"type":"message_update","assistantMessageEvent":{"type":"text_delta","delta":"good"}}`,
		`{"type":"message_end","message":{"role":"assistant","stopReason":"toolUse"}}`,
		`{"type":"message_start","message":{"role":"assistant"}}`,
		`{"type":"message_update","assistantMessageEvent":{"type":"text_delta","delta":"void"}}`,
		`{"type":"message_end","message":{"role":"assistant","stopReason":"error","errorMessage":"terminated"}}`,
		`{"type":"message_start","message":{"role":"assistant"}}`,
		`{"type":"message_update","assistantMessageEvent":{"type":"text_delta","delta":"one"}}`,
		`{"type":"message_end","message":{"role":"assistant","stopReason":"stop"}}`,
		`{"type":"agent_settled"}`)
	if s.Text != "good\n\none" || s.ended() != "stop" || !cmp.Equal(s.Voids, []int{4}) {
		t.Errorf("text %q, voids %v, ended with %s", s.Text, s.Voids, s.ended())
	}
}

func TestPi_UsageIsSummed(t *testing.T) {
	s := piSays(t,
		`{"type":"message_end","message":{"role":"assistant","stopReason":"toolUse","usage":{"input":1,"output":2,"cacheRead":3,"cacheWrite":4,"reasoning":1,"cost":{"total":0.5}}}}`,
		`{"type":"message_end","message":{"role":"assistant","stopReason":"stop","usage":{"input":10,"output":20,"cacheRead":30,"cacheWrite":40,"cost":{"total":0.25}}}}`)
	want := &backend.Usage{PromptTokens: number[int64](88), CompletionTokens: number[int64](22), CachedTokens: number(int64(33)), CostUSD: number(0.75)} // the second tells no reasoning
	if diff := cmp.Diff(want, s.Usage); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
