package kinds

import (
	"slices"
	"testing"

	"penstock/backend"
)

const (
	callLine   = `{"type":"provider_call"}`
	brokenLine = `{"type":"provider_broken","message":"reset"}`
	doneLine   = `{"type":"provider_finished","reason":"stop"}`
)

func refusedLine(code string) string {
	return `{"type":"provider_refused","code":` + code + `,"message":"why"}`
}

// What the agents' own words for a failed call don't tell is in the script's lines.
func TestACP_FollowsTheProvider(t *testing.T) {
	const turn = `{"stopReason":"end_turn"}`
	total := chunk("Context: 1 tokens\nSession total: no LLM calls yet")
	closing := []string{answered(2, turn), total, answered(3, turn), answered(4, "{}")}
	for _, row := range []struct {
		name, kind string
		lines      []string
		want       string
	}{
		{"kimi's turn ends as any other", "kimi", append([]string{callLine, refusedLine("429")}, closing...), "provider_rate_limit 429"},
		{"kimi is saved first", "kimi", append([]string{callLine, refusedLine("500")}, closing[:3]...), "nothing"},
		{"kimi's broken stream", "kimi", append([]string{callLine, chunk("half"), brokenLine}, closing...), "provider_error"},
		{"kimi's total is no evidence then", "kimi", append([]string{callLine, chunk("all"), doneLine}, closing...), "stop"},
		{"a retry went well", "kimi", append([]string{callLine, refusedLine("500"), callLine, chunk("all"), doneLine}, closing...), "stop"},
		{"opencode has no status", "opencode", []string{callLine, refusedLine("403"), `{"id":2,"error":{"code":-32603,"message":"Internal error: no"}}`}, "provider_auth 403"},
		{"opencode would try again", "opencode", []string{callLine, refusedLine("503")}, "provider_error 503"},
		{"a refusal that it doesn't try again", "opencode", []string{callLine, refusedLine("400")}, "nothing"},
		{"one break is mended", "opencode", []string{callLine, brokenLine, callLine, chunk("all"), doneLine, answered(2, turn)}, "stop"},
		{"breaks", "opencode", []string{callLine, brokenLine, callLine, brokenLine, callLine, brokenLine, callLine}, "provider_error"},
		{"breaks apart", "opencode", []string{callLine, brokenLine, callLine, doneLine, callLine, brokenLine, callLine, brokenLine}, "nothing"},
		{"no such line", "opencode", []string{`{"type":"provider_refused","code":"x"}`, chunk("all"), answered(2, turn), answered(3, "{}")}, "stop"},
		{"any other agent", "acp", []string{refusedLine("500"), chunk("all"), callLine, answered(2, turn)}, "stop"},
	} {
		events, _, _ := talk(t, row.kind, backend.Request{}, append([]string{plainAgent, opened}, row.lines...)...)
		if s := listen(t, events); s.ended() != row.want {
			t.Errorf("%s: ended with %s (%+v), want %s", row.name, s.ended(), s.End, row.want)
		}
	}
}

// Only the broken call's text is void, also when an earlier message comes late.
func TestACP_Void(t *testing.T) {
	begin := []string{plainAgent, opened, callLine}
	for _, row := range []struct {
		name  string
		lines []string
		text  string
		voids []int
	}{
		{"second call", []string{say("m1", "one"), doneLine, callLine, say("m2", "vo"), brokenLine, say("m2", "id"), callLine, say("m2", "two")}, "one\n\ntwo", []int{3}},
		{"late", []string{say("m1", "on"), doneLine, callLine, say("m1", "e"), say("m2", "vo"), brokenLine, callLine, say("m2", "two")}, "one\n\ntwo", []int{3}},
		{"twice", []string{say("m1", "vo"), brokenLine, callLine, say("m1", "id"), brokenLine, callLine, say("m1", "one")}, "one", []int{0, 0}},
		{"nothing said", []string{brokenLine, callLine, say("m1", "one")}, "one", nil},
	} {
		events, _, _ := talk(t, "opencode", backend.Request{}, append(slices.Clone(begin), row.lines...)...)
		if s := listen(t, events); s.Text != row.text || !slices.Equal(s.Voids, row.voids) {
			t.Errorf("%s: text %q, voids %v, want %q and %v", row.name, s.Text, s.Voids, row.text, row.voids)
		}
	}
}
