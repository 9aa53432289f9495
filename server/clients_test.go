package server

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/admit"
	"penstock/config"
)

func TestClientsOwnCapIsHeld(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Clients = map[string]config.Client{"anonymous": {MaxRuns: 1, Weight: 1}}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	for range 2 {
		ended.Go(func() {
			if resp, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "sleep 300", false, "")); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	eventually(t, "one runs and one waits", func() bool {
		q := s.healthNow().Queue
		if q.Running > 1 {
			t.Errorf("%d runs of a client with max_runs = 1", q.Running)
			return true
		}
		return q.Running == 1 && q.Waiting == 1
	})
	cancel()
	ended.Wait()
}

func TestClientsAreKnownByWhoAsks(t *testing.T) {
	c := config.Config{Clients: map[string]config.Client{"1000": {MaxRuns: 2, Weight: 1}, "alice": {MaxRuns: 3, ReservedRuns: 1, Weight: 7}}}
	want := map[string]admit.Client{"uid:1000": {MaxRuns: 2, Weight: 1}, "alice": {MaxRuns: 3, Reserved: 1, Weight: 7}}
	if diff := cmp.Diff(want, gateClients(c)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}
