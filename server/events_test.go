package server

import (
	"bufio"
	"context"
	"slices"
	"strings"
	"testing"
)

// Who reads a live run's events is told when he has all there are so far.
func TestCaughtUp(t *testing.T) {
	s := serve(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "echo so far; exec sleep 300", true, ""), "X-Run-Id", "live")
	if err != nil {
		t.Fatal(err)
	}
	defer run.Body.Close()
	said := bufio.NewScanner(run.Body)
	for said.Scan() && !strings.Contains(said.Text(), "far") {
	}
	events, err := s.do(ctx, "GET", "/v1/runs/live/events", "")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	var seen []string
	for lines := bufio.NewScanner(events.Body); lines.Scan() && !slices.Contains(seen, ": caught up"); {
		seen = append(seen, lines.Text())
	}
	if text := strings.Join(seen, "\n"); !strings.HasSuffix(text, ": caught up") || !strings.Contains(text, `far`) {
		t.Errorf("events of a live run:\n%s", text)
	}
	if r := s.ask("POST", "/v1/runs/live/cancel", ""); r.status != 202 {
		t.Errorf("cancel: %d", r.status)
	}
	s.ask("GET", "/v1/runs/live/events", "") // to the end
	if r := s.ask("GET", "/v1/runs/live/events", ""); slices.Contains(r.comments, "caught up") || r.code() != "cancelled" {
		t.Errorf("events of an ended run: %+v", r)
	}
}
