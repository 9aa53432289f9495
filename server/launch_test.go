package server

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"penstock/config"
)

// A second stop ends at once what has a long grace and ignores SIGTERM, whenever
// it comes, and every stream is told.
func TestShutdown_Forced(t *testing.T) {
	for _, row := range []struct {
		name  string
		drain time.Duration
		state string // of the runs when the second stop comes
	}{
		{"while it drains", time.Hour, "running"},
		{"in the grace", time.Millisecond, "ending"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t, func(c *config.Config) {
				c.DrainTimeout.Duration = row.drain
				b := c.Backends["lines"]
				b.Limits.Grace.Duration = time.Hour
				c.Backends["lines"] = b
			})
			deaf := t.TempDir() // a file of each run that hears no SIGTERM from now on
			stays := `trap "" TERM; : >` + deaf + `/$$; echo '{"text":"begun"}'; while :; do sleep 0.02; done`
			answers := make(chan result, 3)
			for _, stream := range []bool{true, true, false} {
				go func() { answers <- s.chat("lines", stays, stream, "") }()
			}
			eventually(t, "they run", func() bool {
				entries, err := os.ReadDir(deaf)
				return err == nil && len(entries) == 3
			})
			s.stop()
			eventually(t, "they are "+row.state, func() bool {
				return s.healthNow().Status == "draining" && strings.Count(s.ask("GET", "/v1/runs", "").body, `"state":"`+row.state+`"`) == 3
			})
			s.force()
			for range 3 {
				select {
				case r := <-answers:
					if r.code() != "shutting_down" || (r.status == 200) != r.done {
						t.Errorf("%+v", r)
					}
				case <-time.After(patience):
					t.Fatal("a client was told nothing")
				}
			}
			s.end()
		})
	}
}

// A request that waits for its session's earlier turn holds no slot: with two slots, one
// run of a session and another request of it waiting, a stranger is served.
func TestLaunch_SessionBeforeSlot(t *testing.T) {
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
func TestChat_ForgottenSession(t *testing.T) {
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
