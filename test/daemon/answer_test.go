package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// savingConfig has a backend that runs its prompt as a script, which has 30 s to save its
// session after its last word.
const savingConfig = `drain_timeout = "30s"
[limits]
memory_max = "64MiB"
grace = "30s"
[budget]
memory = "100%"
max_runs = 1
[backends.saving]
kind = "jsonl"
command = ["/bin/sh"]
`

// saver is a CLI that says its last word and then saves its session, once it is let.
type saver struct {
	d   *Daemon
	dir string
}

func newSaver(t *testing.T) saver {
	t.Helper()
	return saver{Start(t, Options{Config: savingConfig}), t.TempDir()}
}

const savingUsage = `{"usage":{"prompt_tokens":3,"completion_tokens":4}}`

func (s saver) body(extra map[string]any) map[string]any {
	return Body("saving", fmt.Sprintf(`echo '{"session":"cli","text":"the answer"}'; echo '%s'; echo '{"done":true}'
		until [ -e %s/go ]; do sleep 0.01; done; touch %[2]s/saved; exit 4`, savingUsage, s.dir), extra)
}

func (s saver) letGo(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s saver) saved() bool {
	_, err := os.Stat(filepath.Join(s.dir, "saved"))
	return err == nil
}

// record is a run's as the API shows it.
func record(t *testing.T, d *Daemon, id string) (r struct {
	State, Cause, Message, Warning string
	Finish                         string         `json:"finish_reason"`
	Exit                           *int           `json:"exit_code"`
	Answered                       *time.Time     `json:"answered_at"`
	Receipt                        map[string]any `json:"receipt"`
	Adopted                        int
}) {
	t.Helper()
	resp, err := http.Get(d.URL + "/v1/runs/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("record of %s: %s %v", id, resp.Status, err)
	}
	return r
}

// finished waits for a run's end.
func finished(t *testing.T, d *Daemon, id string) {
	t.Helper()
	if err := Eventually(time.Minute, func() error {
		if r := record(t, d, id); r.State != "finished" {
			return fmt.Errorf("%s is %s", id, r.State)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A client has its whole answer at the CLI's last word, streamed or not. The connection is
// free for its next request, the slot and the session when the CLI has gone.
func TestAnsweredAtTheLastWord(t *testing.T) {
	for _, stream := range []bool{true, false} {
		t.Run(fmt.Sprint("stream=", stream), func(t *testing.T) {
			s := newSaver(t)
			transport := &http.Transport{MaxConnsPerHost: 1}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			ask := func(body map[string]any) *Answer {
				a, err := ReadWith(client, s.d.Request(bounded(t, 20*time.Second), body), nil)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			talk := map[string]any{"session_id": "talk", "stream": stream}
			if stream {
				talk["stream_options"] = map[string]any{"include_usage": true}
			}
			a := ask(s.body(talk))
			if a.Text != "the answer" || a.Finish != "stop" || a.Done != stream || a.Error != nil || a.Receipt == nil || a.Usage["completion_tokens"] != 4.0 {
				t.Errorf("%+v", a)
			}
			if r := record(t, s.d, a.Run); r.State != "ending" || r.Cause != "completed" || r.Answered == nil || len(s.d.Pids(a.Run)) == 0 {
				t.Errorf("while it lives: %+v, processes %v", r, s.d.Pids(a.Run))
			}
			second := make(chan *Answer, 1)
			go func() {
				second <- ask(Body("saving", fmt.Sprintf(`[ -e %s/saved ] && echo '{"text":"saved"}'; echo '{"text":".","done":true}'`, s.dir), talk))
			}()
			select {
			case a := <-second:
				t.Fatalf("the next turn came before the first was gone: %+v", a)
			case <-time.After(300 * time.Millisecond):
			}
			s.letGo(t)
			if a := <-second; a.Text != "saved." {
				t.Errorf("next turn: %+v", a)
			}
			if r := record(t, s.d, a.Run); r.State != "finished" || r.Cause != "completed" || r.Exit == nil || *r.Exit != 4 || r.Warning != "" {
				t.Errorf("at its end: %+v", r)
			}
		})
	}
}

// The daemon is killed between an answer and the end of its CLI.
func TestAnsweredByADaemonThatIsKilled(t *testing.T) {
	s := newSaver(t)
	body := s.body(map[string]any{"stream": true})
	first, err := s.d.Durable(t.Context(), "named", "", body, nil)
	if err != nil || first.Finish != "stop" || !first.Done {
		t.Fatalf("%v %+v", err, first)
	}
	told := record(t, s.d, "named")
	if err := s.d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.d.Exited()
	again := s.d.Restart(t)
	if r := record(t, again, "named"); r.Adopted != 1 || r.Cause != "completed" || !r.Answered.Equal(*told.Answered) {
		t.Errorf("adopted: %+v", r)
	}
	last := first.IDs[len(first.IDs)-1]
	rest, err := again.Durable(t.Context(), "named", first.IDs[len(first.IDs)-2], body, nil)
	if err != nil || rest.Finish != "stop" || !rest.Done || rest.IDs[len(rest.IDs)-1] != last || s.saved() {
		t.Errorf("attached again before its end: %v %+v", err, rest)
	}
	s.letGo(t)
	finished(t, again, "named")
	if r := record(t, again, "named"); r.Cause != "completed" || r.Message != told.Message || r.Finish != "stop" || r.Warning != "" || !r.Answered.Equal(*told.Answered) || !s.saved() {
		t.Errorf("at its end: %+v, saved: %v", r, s.saved())
	}
	whole, err := again.Durable(t.Context(), "named", "", body, nil)
	if err != nil || whole.Text != first.Text || strings.Join(whole.IDs, " ") != strings.Join(first.IDs, " ") {
		t.Errorf("replay: %v %+v", err, whole)
	}
}

// One that isn't durable ends with its daemon, and was completed.
func TestAnsweredByADaemonThatIsKilled_Bound(t *testing.T) {
	s := newSaver(t)
	a, err := s.d.Chat(t.Context(), s.body(map[string]any{"stream": true}), nil)
	if err != nil || a.Finish != "stop" || !a.Done {
		t.Fatalf("%v %+v", err, a)
	}
	if err := s.d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.d.Exited()
	again := s.d.Restart(t)
	if r := record(t, again, a.Run); r.State != "finished" || r.Cause != "completed" || r.Finish != "stop" || !strings.Contains(r.Warning, "daemon ended") {
		t.Errorf("%+v", r)
	}
	if err := again.WaitEmpty(5 * time.Second); err != nil {
		t.Error(err)
	}
}

// A handover and a stop wait for a CLI that saves its session.
func TestAnsweredBeforeAHandover(t *testing.T) {
	for _, name := range []string{"", "named"} {
		s := newSaver(t)
		ask := s.d.Request(t.Context(), s.body(map[string]any{"stream": true}))
		if name != "" {
			ask.Header.Set("X-Run-Id", name)
		}
		a, err := Read(ask, nil)
		if err != nil || a.Finish != "stop" || !a.Done {
			t.Fatalf("%v %+v", err, a)
		}
		done := s.d.said("handed over")
		s.d.signal(syscall.SIGUSR2)
		s.d.awaitSaid("draining", 1)
		time.Sleep(100 * time.Millisecond)
		if s.d.said("handed over") > done || len(s.d.Pids(a.Run)) == 0 {
			t.Errorf("%q: not waited for", name)
		}
		s.letGo(t)
		s.d.awaitSaid("handed over", done+1)
		if r := record(t, s.d, a.Run); r.State != "finished" || r.Cause != "completed" || r.Adopted != 0 || r.Exit == nil || !s.saved() {
			t.Errorf("%q: %+v", name, r)
		}
	}
}

// What ends a CLI after its answer is told beside what was answered. The kernel's own end
// is in the lab.
func TestAnsweredAndThenShortOfMemory(t *testing.T) {
	d := Start(t, Options{Config: savingConfig})
	a, err := d.Chat(t.Context(), Body("saving", `echo '{"text":"x","done":true}'; sleep 0.3; dd if=/dev/zero of=/dev/null bs=300M count=1000`, map[string]any{"stream": true}), nil)
	if err != nil || a.Finish != "stop" || !a.Done {
		t.Fatalf("%v %+v", err, a)
	}
	finished(t, d, a.Run)
	if r := record(t, d, a.Run); r.Cause != "completed" || !strings.Contains(r.Warning, "memory limit") {
		t.Errorf("%+v", r)
	}
	d.AwaitLog(`may be incomplete: memory limit`)
}
