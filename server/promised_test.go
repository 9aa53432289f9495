package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/config"
)

// oneSlot lets one run at a time, and the others wait for so long.
func oneSlot(wait time.Duration) func(*config.Config) {
	return func(c *config.Config) {
		c.Budget.MaxRuns = 1
		c.Queue.MaxWait = config.Duration{Duration: wait}
	}
}

// occupied takes the one slot for as long as the test runs, or until it is let go.
func (s *served) occupied() (path string) {
	s.t.Helper()
	first := s.respond("sh", "sleep 600", `,"background":true`)
	path = "/v1/responses/" + first.ID
	eventually(s.t, "the slot is taken", func() bool {
		r, _ := s.response("GET", path, "")
		return r.Status == "in_progress"
	})
	return path
}

func (s *served) isSettled(path, status, cause string) {
	s.t.Helper()
	eventually(s.t, path+" is "+status, func() bool {
		r, code := s.response("GET", path, "")
		if code != 200 {
			s.t.Fatalf("%s: %d", path, code)
		}
		return r.Status == status && r.Cause == cause
	})
}

// A response that was answered as queued has an end for its client, also where its run is never
// started: everywhere as that of a run that failed.
func TestBackground_RefusedLater(t *testing.T) {
	for name, row := range map[string]struct {
		wait          time.Duration
		more          string
		cancel        bool
		status, cause string
	}{
		"queue timeout": {200 * time.Millisecond, "", false, "failed", "queue_timeout"},
		"deadline":      {time.Minute, `,"timeout_ms":200`, false, "failed", "queue_timeout"},
		"cancelled":     {time.Minute, "", true, "cancelled", "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, oneSlot(row.wait))
			first := s.occupied()
			const body = `{"model":"upper","input":"hello","background":true,"metadata":{"k":"v"}`
			made, code := s.response("POST", "/v1/responses", body+row.more+"}", "X-Run-Id", "mine")
			if code != 200 || made.Status != "queued" {
				t.Fatalf("%d %+v", code, made)
			}
			path := "/v1/responses/" + made.ID
			if row.cancel {
				if r, code := s.response("POST", path+"/cancel", ""); code != 200 || r.Status != "cancelled" {
					t.Errorf("%d %+v", code, r)
				}
			}
			s.isSettled(path, row.status, row.cause)
			if r, code := s.response("POST", "/v1/responses", body+row.more+"}", "X-Run-Id", "mine"); code != 200 || r.ID != made.ID || r.Status != row.status || r.Cause != row.cause {
				t.Errorf("asked again: %d %+v", code, r)
			}
			if r, code := s.response("POST", path+"/cancel", ""); code != 200 || r.Status != row.status {
				t.Errorf("cancelled after its end: %d %+v", code, r)
			}
			all := events(t, s.ask("GET", path+"?stream=true", "").body)
			var types []string
			for _, e := range all {
				types = append(types, e.Type)
			}
			if got := strings.Join(types, " "); got != "response.created response.in_progress response.failed error" {
				t.Errorf("its stream: %s", got)
			}
			if rest := events(t, s.ask("GET", fmt.Sprintf("%s?stream=true&starting_after=%d", path, all[0].Number), "").body); fmt.Sprint(rest) != fmt.Sprint(all[1:]) {
				t.Errorf("after the first: %v", rest)
			}
			if !strings.Contains(all[2].Data, `"x_cause":"`+row.cause+`"`) || !strings.Contains(all[2].Data, `"status":"`+row.status+`"`) {
				t.Errorf("%s", all[2].Data)
			}
			var record struct{ State, Cause, Client, Model, Backend string }
			if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs/mine", "").body), &record); err != nil || record.State != "finished" || record.Cause != row.cause || record.Model != "upper" || record.Backend != "upper" {
				t.Errorf("%v %+v", err, record)
			}
			if list := s.ask("GET", "/v1/runs?state=finished", "").body; !strings.Contains(list, `"mine"`) {
				t.Errorf("%s", list)
			}
			if got := s.ask("POST", "/v1/responses", `{"model":"upper","input":"x","previous_response_id":"`+made.ID+`"}`); got.status != 400 {
				t.Errorf("gone on from: %d %s", got.status, got.body)
			}
			if got := s.ask("DELETE", path, ""); got.status != 200 {
				t.Errorf("%d %s", got.status, got.body)
			}
			if got := s.ask("GET", path, ""); got.status != 404 {
				t.Errorf("after its removal: %d", got.status)
			}
			s.response("POST", first+"/cancel", "")
		})
	}
}

// What is refused before it is answered is told at once, and leaves no record.
func TestBackground_RefusedAtOnce(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		oneSlot(time.Minute)(c)
		c.Queue.MaxWaiting = 1
	})
	first := s.occupied()
	second := s.respond("upper", "waits", `,"background":true`)
	for range 2 {
		r := s.ask("POST", "/v1/responses", `{"model":"upper","input":"x","background":true}`, "X-Run-Id", "third")
		if r.status != 429 || r.code() != "queue_full" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if got := s.ask("GET", "/v1/runs/third", ""); got.status != 404 {
			t.Errorf("there is a record: %s", got.body)
		}
	}
	s.response("POST", first+"/cancel", "")
	s.isSettled("/v1/responses/"+second.ID, "completed", "")
}
