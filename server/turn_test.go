package server

import (
	"context"
	"fmt"
	"os"
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

// A CLI that has forgotten the session is told the whole conversation; the stream
// says so first, and the run's record, too.
func TestForgottenSession(t *testing.T) {
	s := serve(t, nil)
	forget := t.TempDir() + "/forget"
	// The prompt is the script: the last message alone on a resumed session, all of them else.
	script := `if [ -n "$AGENT_SESSION" ] && [ -e ` + forget + ` ]; then echo '{"error":{"message":"gone","session_unknown":true}}'; exit 1; fi
echo '{"session":"cli-1"}'; echo '{"text":"done","done":true}'`
	ask := func(stream bool) result {
		// Flattened, each message is in lines of its own that the shell takes no notice of.
		return s.chat("lines", "\n"+script+"\nexit\n", stream, `,"session_id":"talk"`)
	}
	if r := ask(false); r.text != "done" {
		t.Fatalf("%+v", r)
	}
	if err := os.WriteFile(forget, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []bool{false, true} {
		r := ask(stream)
		if r.text != "done" || r.finish != "stop" || stream && !strings.Contains(strings.Join(r.comments, "\n"), "started anew") {
			t.Errorf("stream %v: %+v", stream, r)
		}
		record := s.ask("GET", "/v1/runs/"+r.header.Get("X-Run-Id"), "")
		if !strings.Contains(record.body, `"session_restarted":true`) || strings.Count(record.body, `"cause":"completed"`) != 1 {
			t.Errorf("stream %v: %s", stream, record.body)
		}
	}
}
