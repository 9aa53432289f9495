package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Who waits for his session's earlier turn holds no slot: with two slots, one
// run of a session and another request of it waiting, a stranger is served.
func TestWaitingForATurnHoldsNoSlot(t *testing.T) {
	s := serve(t, nil)
	ask := func(script, session string) string {
		_, reply := s.send("POST", "/v1/chat/completions", fmt.Sprintf(
			`{"model":"sh","session_id":%q,"messages":[{"role":"user","content":%q}]}`, session, script), nil)
		return reply
	}
	gate := t.TempDir() + "/gate"
	first, second := make(chan string, 1), make(chan string, 4)
	go func() { first <- ask("while ! [ -e "+gate+" ]; do sleep 0.02; done; echo one", "talk") }()
	s.until(`"running":1`)
	for range 4 { // as many as there are slots
		go func() { second <- ask("echo two", "talk") }()
	}
	time.Sleep(300 * time.Millisecond) // they are waiting now, or else were in time to take slots
	s.until(`"running":1`)
	if reply := ask("echo stranger", "other"); !strings.Contains(reply, "stranger") {
		t.Errorf("a stranger: %s", reply)
	}
	ask("touch "+gate, "key")
	for _, c := range []chan string{first, second, second, second, second} {
		select {
		case reply := <-c:
			if !strings.Contains(reply, `"finish_reason":"stop"`) {
				t.Errorf("a turn: %s", reply)
			}
		case <-time.After(patience):
			t.Fatal("a turn never came")
		}
	}
}

// until waits for a text in /health.
func (s *served) until(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if _, reply := s.send("GET", "/health", "", nil); strings.Contains(strings.ReplaceAll(reply, " ", ""), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("/health never said %s", text)
}
