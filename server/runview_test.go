package server

import (
	"context"
	"encoding/json"
	"testing"

	"penstock/config"
)

// Who asks for the live runs sees what each needs now, and where the others wait.
func TestLiveRuns(t *testing.T) {
	s := serve(t, func(c *config.Config) { c.Budget.MaxRuns = 1 })
	begin := func(id, script, more string) {
		resp, err := s.do(context.Background(), "POST", "/v1/chat/completions", chatBody("sh", script, true, more), "X-Run-Id", id)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
	}
	begin("spins", "while :; do :; done", `,"session_id":"talk"`)
	begin("first", "echo never", "")
	begin("second", "echo never", "")
	begin("turn", "echo never", `,"session_id":"talk"`)
	list := func(state string) map[string]shownRun {
		var reply struct{ Data []shownRun }
		if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs?state="+state, "").body), &reply); err != nil {
			t.Fatal(err)
		}
		out := map[string]shownRun{}
		for _, r := range reply.Data {
			out[r.ID] = r
		}
		return out
	}
	eventually(t, "figures", func() bool {
		u := list("live")["spins"].Usage
		return u != nil && u.CPUCores != nil && *u.CPUCores > 0 && *u.CPUUsec > 0 && *u.Memory > 0 && *u.Pids == 1 && !u.Stalled && !u.Sampled.IsZero()
	})
	live := list("live")
	for id, want := range map[string]queuePosition{"first": {For: "slot", Position: 1}, "second": {For: "slot", Position: 2}, "turn": {For: "session"}} {
		r := live[id]
		if r.Queue == nil || r.State != stateQueued || r.Usage != nil {
			t.Fatalf("%s: %+v", id, r)
		}
		if q := *r.Queue; q.For != want.For || q.Position != want.Position || q.Waited <= 0 {
			t.Errorf("%s waits: %+v, want %+v", id, q, want)
		}
	}
	if live["turn"].Session != "talk" {
		t.Errorf("session of a queued one: %q", live["turn"].Session)
	}
	for _, id := range []string{"turn", "second", "first", "spins"} {
		s.ask("POST", "/v1/runs/"+id+"/cancel", "")
	}
	eventually(t, "no live runs", func() bool { return len(list("live")) == 0 })
	if r := list("finished")["spins"]; r.Usage != nil || r.Receipt == nil {
		t.Errorf("a finished run: %+v", r)
	}
}
