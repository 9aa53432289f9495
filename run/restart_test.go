package run

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"
)

// forgetful is a CLI that knows no session: it says so and acts only without one.
const forgetful = `echo run >> "$COUNT"; if [ -n "$CLI_SESSION" ]; then echo "s $CLI_SESSION" >&2; echo "u no session $CLI_SESSION"; sleep 300; fi
echo "s new"; while read -r line; do echo "t $line"; done; echo "d stop"`

func remembering(m *Manager, t *testing.T) {
	t.Helper()
	verdict(t, start(t, m, script(`echo "s old"; echo "d stop"`, inSession("talk"))), outcome.Completed)
	if id, _ := m.SessionKnown("tester", "talk"); id != "old" {
		t.Fatalf("known as %q", id)
	}
}

// A session that the CLI has forgotten is started anew, with the whole
// conversation: one run, two processes, and nothing of the first one counts.
func TestRestart_OfAForgottenSession(t *testing.T) {
	for _, talks := range []bool{false, true} {
		m := open(t)
		remembering(m, t)
		count := t.TempDir() + "/count"
		var seen atomic.Pointer[backend.Request]
		cli := forgetful
		if talks {
			cli = strings.Replace(cli, "while read -r line; do", "read -r hello; read -r line;", 1)
			cli = strings.Replace(cli, "; done;", ";", 1)
		}
		s := script(cli, inSession("talk", func(s *Spec) {
			s.Backend, s.Durable = agent{talks: talks, seen: &seen}, talks
			s.Request.Model, s.Request.Effort = "big", "high"
			s.Env = append(s.Env, "COUNT="+count)
			s.Request.Prompt, s.Fresh = "last", &PromptText{Prompt: "whole\n"}
		}))
		gone := counted(t, &s)
		r := start(t, m, s)
		got := events(t, r.Follow(0))
		verdict(t, r, outcome.Completed)
		wait(t, "removal", r.done)
		if len(got) == 0 || got[0].Kind != backend.Notice || got[0].Text != restartedNotice || text(got) != "whole" {
			t.Errorf("talks %v: events %+v", talks, got)
		}
		for _, e := range got {
			if e.Kind == backend.Failed || e.Session == "not this" {
				t.Errorf("talks %v: of the first process: %+v", talks, e)
			}
		}
		if again := events(t, r.Follow(1)); text(again) != "whole" || again[0].Seq != 2 {
			t.Errorf("talks %v: read again: %+v", talks, again)
		}
		if c := r.Record(); !c.SessionRestarted || c.CLISession != "new" || gone.Load() != 1 {
			t.Errorf("talks %v: record %+v, gone %d", talks, c, gone.Load())
		}
		if id, _ := m.SessionKnown("tester", "talk"); id != "new" {
			t.Errorf("talks %v: known as %q", talks, id)
		}
		if n := strings.Count(read(t, count), "run"); n != 2 {
			t.Errorf("talks %v: %d processes", talks, n)
		}
		if q := seen.Load(); q.Model != "big" || q.Effort != "high" || q.Session != "" {
			t.Errorf("talks %v: the second process is asked for %+v", talks, q)
		}
	}
}

// An end that comes while the CLI is being started anew is recorded as what it was,
// and no second process is started.
func TestRestart_AndTheEnd(t *testing.T) {
	m := open(t)
	remembering(m, t)
	count := t.TempDir() + "/count"
	var r atomic.Pointer[Run]
	s := script(forgetful, inSession("talk", func(s *Spec) {
		s.Env = append(s.Env, "COUNT="+count)
		s.Fresh = &PromptText{Prompt: "whole"}
		s.Backend = &endedAtSecond{run: &r}
	}))
	s.ID = "r"
	got := start(t, m, s)
	r.Store(got)
	verdict(t, got, outcome.Cancelled)
	if all := events(t, got.Follow(0)); len(all) != 0 {
		t.Errorf("events %+v", all)
	}
	if n := strings.Count(read(t, count), "run"); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// endedAtSecond is an agent whose run is cancelled when it is asked for its second command.
type endedAtSecond struct {
	agent
	asked atomic.Int32
	run   *atomic.Pointer[Run]
}

func (a *endedAtSecond) Command(r backend.Request) (backend.Command, error) {
	if a.asked.Add(1) == 2 {
		for a.run.Load() == nil {
			time.Sleep(time.Millisecond)
		}
		a.run.Load().End(outcome.Cancelled)
	}
	return a.agent.Command(r)
}

// What can't be started anew keeps its output: a later daemon reads it again.
func TestRestart_FailedKeepsItsOutput(t *testing.T) {
	m := open(t)
	remembering(m, t)
	r := start(t, m, script(`echo "u gone"`, inSession("talk", func(s *Spec) {
		s.Durable, s.Fresh, s.Backend = true, &PromptText{Prompt: "whole"}, &refusedAtSecond{}
	})))
	verdict(t, r, outcome.CLIError)
	wait(t, "removal", r.done)
	if c, err := m.finishedRun(r.dir, r.Record(), &store.Checkpoint{Spool: inode(t, r.dir.File(store.SpoolName))}, agent{}); err != nil || c.spool.Tampered() {
		t.Error("its output is gone")
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	n, _ := spool.InodeOf(f)
	return n
}

// refusedAtSecond is an agent that can't be started a second time.
type refusedAtSecond struct {
	agent
	asked atomic.Int32
}

func (a *refusedAtSecond) Command(r backend.Request) (backend.Command, error) {
	if a.asked.Add(1) == 2 {
		return backend.Command{}, os.ErrInvalid
	}
	return a.agent.Command(r)
}

// A CLI that has done anything is not started anew, nor one whose conversation
// can't be told, nor one for a second time.
func TestRestart_OnlyOfWhatDidNothing(t *testing.T) {
	m := open(t)
	for name, c := range map[string]struct {
		text  string
		fresh *PromptText
		runs  int
	}{
		"text came":      {`echo run >> "$COUNT"; echo "t word"; echo "t more"; echo "u gone"`, &PromptText{}, 1},
		"can't be told":  {`echo run >> "$COUNT"; echo "u gone"`, nil, 1},
		"always says so": {`echo run >> "$COUNT"; echo "u gone"`, &PromptText{}, 2},
	} {
		remembering(m, t)
		count := t.TempDir() + "/count"
		r := start(t, m, script(c.text, inSession("talk", func(s *Spec) {
			s.Env = append(s.Env, "COUNT="+count)
			s.Fresh = c.fresh
		})))
		if v := verdict(t, r, outcome.CLIError); !strings.Contains(v.Message, "gone") {
			t.Errorf("%s: %+v", name, v)
		}
		if n := strings.Count(read(t, count), "run"); n != c.runs {
			t.Errorf("%s: %d processes, want %d", name, n, c.runs)
		}
		wait(t, "removal", r.done)
		if err := m.Forget("tester", "talk"); err != nil {
			t.Error(err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A run between its two processes that an earlier daemon has left, and whose CLI can't
// be started anew: its output is not there any more, and it ends with its CLI's word.
func TestRestart_FailsAfterAnEarlierDaemon(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, fresh, started := s.Run("r"), &PromptText{Prompt: "whole"}, time.Now()
	err = errors.Join(d.Make(nil), d.SaveFresh(fresh), d.Save(Record{ID: "r", Object: "run", State: Running, Client: "tester", Backend: "agent", Session: "talk", Durable: true, Created: started, Started: &started}),
		d.SaveCheckpoint(&store.Checkpoint{
			Kind: "test", Fresh: store.LengthOf(fresh), Restart: store.RestartDue, OutputMax: 1 << 20, LineMax: 1 << 20,
			Session: Session{Client: "tester", Session: "talk", Backend: "agent", Cwd: dir},
		}), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, func(o *Options) {
		o.StateDir = dir
		o.Backends = func(string) (backend.Backend, bool) { return unstartable{}, true }
		o.Renew = func(string) (Spec, bool) { return Spec{Argv: []string{"/bin/true"}}, true }
	})
	r, err := m.Get("r")
	if err != nil {
		t.Fatal("not known")
	}
	if v := verdict(t, r, outcome.CLIError); !strings.Contains(v.Message, "could not be started anew: backend agent: no") {
		t.Errorf("message %q", v.Message)
	}
	if all := events(t, r.Follow(0)); len(all) != 0 {
		t.Errorf("events %+v", all)
	}
}

// unstartable is an agent that can't be started.
type unstartable struct{ agent }

func (unstartable) Command(backend.Request) (backend.Command, error) {
	return backend.Command{}, errors.New("no")
}
