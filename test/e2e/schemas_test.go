package e2e

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"penstock/test/daemon"
)

// A schema, as each stock client sends it: the answer keeps to it, or the client is told that
// it doesn't, and starts nothing again.
func TestSchema(t *testing.T) {
	d := daemon.Start(t, daemon.Options{})
	clients := openSDKs(t)
	schema := map[string]any{
		"type": "object", "required": []any{"city", "people"}, "additionalProperties": false,
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "people": map[string]any{"type": "integer"}},
	}
	hold := func(answer string) []*held {
		return clients.all(bothWays(stocks()...), func(way) conversation {
			return conversation{BaseURL: d.URL, Model: "demo", Schema: schema, Turns: says("/last " + answer)}
		})
	}
	const kept = `{"city":"Oslo","people":717710}`
	t.Run("kept", func(t *testing.T) {
		each(t, hold(kept), func(t *testing.T, h *held) {
			answered(t, h)
			var got, want any
			if err := json.Unmarshal([]byte(h.turns[0].Text), &got); err != nil {
				t.Fatalf("%v: %v", err, h.turns[0])
			}
			_ = json.Unmarshal([]byte(kept), &want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%v", h.turns[0])
			}
		})
	})
	t.Run("broken", func(t *testing.T) {
		each(t, hold(`{"city":"Oslo","people":"many"}`), func(t *testing.T, h *held) {
			if s := h.turns[0]; !h.tells(s, "invalid_output") || s.Requests != 1 || strings.Contains(s.Text, "Oslo") {
				t.Errorf("%d requests: %v", s.Requests, s)
			}
		})
	})
}
