package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

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
		absentee := c.Backends["upper"]
		absentee.Name = "absentee"
		c.Backends["absentee"] = absentee
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

// pendingIn are the requests that are kept until they are started.
func pendingIn(t *testing.T, stateDir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(stateDir, "store", "pending"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A request that is answered before its run is started is on the disk by then, until there is a
// record; what can't be kept is refused, and nothing is started.
func TestBackground_Kept(t *testing.T) {
	s := serve(t, oneSlot(time.Minute))
	first := s.occupied()
	if got := pendingIn(t, s.stateDir); len(got) != 0 {
		t.Errorf("of one that runs: %q", got)
	}
	made := s.respond("upper", "hello", `,"background":true`, "X-Run-Id", "mine")
	if got := pendingIn(t, s.stateDir); fmt.Sprint(got) != "[run-mine]" {
		t.Errorf("of one that waits: %q", got)
	}
	dir := filepath.Join(s.stateDir, "store", "pending")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	r := s.ask("POST", "/v1/responses", `{"model":"upper","input":"x","background":true}`, "X-Run-Id", "other")
	if r.status != 503 || r.code() != "start_failed" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, path := range []string{"/v1/runs/other", "/v1/responses/resp_other"} {
		if got := s.ask("GET", path, ""); got.status != 404 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	s.response("POST", first+"/cancel", "")
	s.isSettled("/v1/responses/"+made.ID, "completed", "")
	if got := pendingIn(t, s.stateDir); len(got) != 0 {
		t.Errorf("after its end: %q", got)
	}
	if got := s.ask("POST", "/v1/chat/completions", chatBody("upper", "x", false, ""), "X-Run-Id", "chat"); got.status != 200 {
		t.Errorf("%d", got.status)
	}
}

// What waits when the daemon ends is started by the next one, in the order in which it came, as the
// request that it was.
func TestBackground_LeftToTheNext(t *testing.T) {
	state, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	change := func(c *config.Config) {
		oneSlot(time.Minute)(c)
		c.StateDir, c.DrainTimeout = state, config.Duration{Duration: 300 * time.Millisecond}
	}
	s := serve(t, change)
	s.occupied()
	var made []response
	for i := range 3 {
		made = append(made, s.respond("sh", fmt.Sprintf("echo %d >> %s; echo said %d", i, out, i), `,"background":true,"metadata":{"k":"v"}`, "X-Run-Id", fmt.Sprint("n:", i), "X-Session-Id", "talk"))
	}
	made = append(made, s.respond("absentee", "never", `,"background":true`, "X-Run-Id", "gone"))
	stopped := make(chan struct{})
	go func() {
		s.end()
		close(stopped)
	}()
	for range 3 { // as long as it is there to be asked
		if r, err := s.do(t.Context(), "GET", "/v1/responses/"+made[0].ID, ""); err == nil {
			if r.Body.Close(); r.StatusCode != 200 {
				t.Errorf("while the daemon ends: %d", r.StatusCode)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	<-stopped
	if got := pendingIn(t, state); len(got) != 4 {
		t.Fatalf("left: %q", got)
	}
	if err := os.WriteFile(filepath.Join(state, "store", "pending", "run-torn"), []byte("00000000\n{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = serve(t, func(c *config.Config) {
		change(c)
		delete(c.Backends, "absentee")
	})
	for i, one := range made[:3] {
		s.isSettled("/v1/responses/"+one.ID, "completed", "")
		r, _ := s.response("GET", "/v1/responses/"+one.ID, "")
		if r.text() != fmt.Sprint("said ", i) || r.Session == nil || r.Session.ID != "talk" {
			t.Errorf("%+v", r)
		}
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != "0\n1\n2\n" {
		t.Errorf("%q, %v", text, err)
	}
	s.isSettled("/v1/responses/"+made[3].ID, "failed", "model_not_found")
	if got := pendingIn(t, state); len(got) != 0 {
		t.Errorf("after all: %q", got)
	}
	body := fmt.Sprintf(`{"model":"sh","input":"echo 0 >> %s; echo said 0","background":true,"metadata":{"k":"v"}}`, out)
	if r, code := s.response("POST", "/v1/responses", body, "X-Run-Id", "n:0", "X-Session-Id", "talk"); code != 200 || r.Status != "completed" || r.text() != "said 0" {
		t.Errorf("asked again: %d %+v", code, r)
	}
	if !s.log.has("a request that was to be started is lost") {
		t.Error("nothing tells of the torn file")
	}
}
