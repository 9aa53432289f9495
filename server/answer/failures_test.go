package answer

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"penstock/outcome"
	"penstock/server/web"
	"penstock/spool"
)

// repeaters are the stock clients whose rules are published, each with what it
// repeats by itself: openai-python, openai-node, openai-go and the Anthropic SDKs
// (which heed x-should-retry), Vercel ai, LangChain JS, and aider on LiteLLM, which
// repeats what has no class of its own there, but for its BadRequest, 401, 403, 404
// and 422. test/e2e drives those that can be had.
var repeaters = map[string]func(status int, should string) bool{
	"openai and anthropic SDKs": func(status int, should string) bool {
		return should != "false" && (should == "true" || status == 408 || status == 409 || status == 429 || status >= 500)
	},
	"ai": func(status int, _ string) bool {
		return status == 408 || status == 409 || status == 429 || status >= 500
	},
	"langchain": func(status int, _ string) bool {
		return !slices.Contains([]int{400, 401, 402, 403, 404, 405, 406, 407, 409}, status)
	},
	"aider on litellm": func(status int, _ string) bool {
		return !slices.Contains([]int{400, 401, 403, 404, 422}, status)
	},
}

// Nothing that fails after a start has a status that a stock client repeats.
func TestFailures_NotRepeated(t *testing.T) {
	for name, e := range map[string]*web.Error{
		"a killed run":                runFailed(outcome.Verdict{Cause: outcome.Killed, Message: "m"}, recordOf("run_1")),
		"a run ended by the drain":    runFailed(outcome.Verdict{Cause: outcome.ShuttingDown, Message: "m"}, recordOf("run_1")),
		"text taken back":             textVoided(recordOf("run_1")),
		"text taken back too often":   tooManyVoids(recordOf("run_1")),
		"a fault of ours":             web.AfterStart(errors.New("disk"), "run_1", nil),
		"an output that is not there": web.AfterStart(unreadable(errors.New("gone")), "run_1", nil),
	} {
		rec := httptest.NewRecorder()
		web.WriteError(rec, e)
		var body struct{ Error web.ErrorBody }
		should := rec.Header().Get("X-Should-Retry")
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code != 400 || body.Error.Type != "run_error" || body.Error.RunID != "run_1" || should != "false" {
			t.Errorf("%s: %d %s %v", name, rec.Code, rec.Body, err)
		}
		for client, repeats := range repeaters {
			if repeats(rec.Code, should) {
				t.Errorf("%s: %s repeats a %d", name, client, rec.Code)
			}
		}
	}
	if e := web.AfterStart(unreadable(spool.ErrNoReplay), "run_1", nil); e.Status != http.StatusGone {
		t.Errorf("an output that is not kept any more: %+v", e)
	}
}
