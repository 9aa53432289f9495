package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"penstock/config"
	"penstock/outcome"
	"penstock/run/store"
)

// leaveFinished writes finished runs r0 to r(n-1) as a daemon without an index of them has
// left them. The checkpoint of the first can't be read, which is logged when it is indexed.
func leaveFinished(t *testing.T, stateDir string, n int) {
	t.Helper()
	st, err := store.Open(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Now().Add(-time.Minute)
	for i := range n {
		id := fmt.Sprint("r", i)
		d := st.Run(id)
		err := errors.Join(d.Make(nil), d.Save(store.Record{
			ID: id, Object: store.Object, State: store.Finished, Cause: outcome.Completed,
			Client: "anonymous", Backend: "sh", Model: "sh", Created: ended, Ended: &ended,
		}))
		if i == 0 {
			err = errors.Join(err, os.WriteFile(d.StorePath("checkpoint.json"), []byte("{"), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// While the index of finished runs is made anew the daemon serves: a list of them says
// that it is incomplete, and each is found by its id.
func TestRebuild_IsServed(t *testing.T) {
	const runs = 300 // more than a start looks at before it serves
	reached, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	s := serve(t, func(c *config.Config) { leaveFinished(t, c.StateDir, runs) }, func(o *Options) {
		o.Logger = slog.New(tripwire{slog.DiscardHandler, "checkpoint not readable: the run's events are lost", func() {
			close(reached)
			<-held
		}})
	})
	t.Cleanup(release)
	type list struct {
		Data       []shownRun
		Incomplete bool
	}
	listed := func(state string) (l list) {
		t.Helper()
		r := s.ask("GET", fmt.Sprintf("/v1/runs?limit=%d&state=%s", runs, state), "")
		if err := json.Unmarshal([]byte(r.body), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("nothing is made anew")
	}
	for _, state := range []string{"", "finished"} {
		if l := listed(state); !l.Incomplete || len(l.Data) >= runs {
			t.Errorf("state %q: %d runs listed, incomplete: %v", state, len(l.Data), l.Incomplete)
		}
	}
	for _, state := range []string{"live", "queued"} {
		if l := listed(state); l.Incomplete || len(l.Data) != 0 {
			t.Errorf("state %q: it needs no index, and %d runs, incomplete: %v", state, len(l.Data), l.Incomplete)
		}
	}
	for i := range runs {
		if r := s.ask("GET", fmt.Sprint("/v1/runs/r", i), ""); r.status != 200 {
			t.Fatalf("r%d: %d %s", i, r.status, r.body)
		}
	}
	if r := s.ask("GET", "/v1/runs/none", ""); r.status != 404 {
		t.Errorf("a run that isn't there: %d", r.status)
	}
	if r := s.chat("sh", "echo new", false, ""); r.text != "new\n" {
		t.Errorf("a new run said %q", r.text)
	}
	release()
	eventually(t, "a complete list", func() bool { l := listed(""); return !l.Incomplete && len(l.Data) == runs })
}
