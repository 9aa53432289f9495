package run

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/outcome"
	"penstock/run/sessions"
)

// lingering says its last word and then does what it has to until the file go is there.
func lingering(dir, does string, change ...func(*Spec)) Spec {
	return script(`echo "t words"; echo "d length"; `+does+`; until [ -e `+dir+`/go ]; do sleep 0.01; done; exit 3`,
		append([]func(*Spec){func(s *Spec) { s.Backend, s.Grace = agent{settle: true}, 20*time.Second }}, change...)...)
}

func letGo(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// stays wants nothing to come of c for a while.
func stays(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Errorf("%s: not any more", what)
	case <-time.After(100 * time.Millisecond):
	}
}

// The answer is told at the last word of a CLI that saves its session afterwards. The slot
// and the session are free when it is gone, and what was told stays.
func TestAnswer_BeforeTheEnd(t *testing.T) {
	for _, durable := range []bool{false, true} {
		m, dir := open(t), t.TempDir()
		s := lingering(dir, "true", inSession("talk"), func(s *Spec) { s.Durable = durable })
		gone := counted(t, &s)
		r := start(t, m, s)
		wait(t, "the answer", r.Answered())
		told, v := r.Record(), r.Verdict()
		if v.Cause != outcome.Completed || told.State != Ending || told.Cause != v.Cause || told.Message != v.Message ||
			told.Finish != "length" || told.Receipt == nil || told.Answered == nil || told.Ended != nil {
			t.Errorf("told: %+v, %+v", v, told)
		}
		r.End(outcome.ClientGone) // it has its answer
		stays(t, "lives on", r.Ended())
		if _, free := m.sessionLocks.TryAcquire(sessions.Key("tester", "talk")); free || gone.Load() != 0 {
			t.Errorf("its session is free: %v, its slot: %d", free, gone.Load())
		}
		letGo(t, dir)
		verdict(t, r, outcome.Completed)
		end := r.Record()
		if end.Message != told.Message || end.Finish != "length" || end.Exit == nil || *end.Exit != 3 || end.Warning != "" || !end.Answered.Equal(*told.Answered) {
			t.Errorf("at its end: %+v", end)
		}
		wait(t, "removal", r.done)
		if got := text(events(t, r.Follow(0))); got != "words" || gone.Load() != 1 {
			t.Errorf("%q, OnGone came %d times", got, gone.Load())
		}
	}
}

// What becomes of a CLI after its answer is a warning, and its verdict what was told.
func TestAnswer_AndABadEnd(t *testing.T) {
	m := open(t)
	for name, row := range map[string]struct {
		does, says string
		change     func(*Spec)
	}{
		"writes too much":      {"go; while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", "output", func(s *Spec) { s.OutputMax = 100 << 10 }},
		"replaces its output":  {"go; cd $TMPDIR/..; mv spool x; cp x spool; exit", "replaced", nil},
		"truncates its output": {"go; : > /proc/self/fd/1; exit", "truncated", nil},
		"dies of a signal":     {"go; kill -9 $$", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := lingering(dir, strings.Replace(row.does, "go;", "until [ -e "+dir+"/go ]; do sleep 0.01; done;", 1))
			if row.change != nil {
				row.change(&s)
			}
			r := start(t, m, s)
			wait(t, "the answer", r.Answered())
			told := r.Verdict()
			letGo(t, dir)
			if v := verdict(t, r, outcome.Completed); v != told {
				t.Errorf("told %+v, and ended as %+v", told, v)
			}
			c := r.Record()
			if says := strings.Contains(c.Warning, row.says); !says || (row.says == "") != (c.Warning == "") || c.Finish != "length" {
				t.Errorf("warning %q, want %q in it: %+v", c.Warning, row.says, c)
			}
			if _, onDisk, _, err := m.recall(r.ID()); err != nil || onDisk.Cause != outcome.Completed || onDisk.Warning != c.Warning {
				t.Errorf("on disk: %+v, %v", onDisk, err)
			}
		})
	}
}

// Only what is certain to have completed is told before the end.
func TestAnswer_NotBeforeTheEnd(t *testing.T) {
	for name, row := range map[string]struct {
		does   string
		change func(*Spec)
		option func(*Options)
		want   outcome.Cause
	}{
		"failed":        {`echo "f quota"; sleep 0.2`, nil, nil, outcome.ProviderError},
		"only its exit": {"echo words; sleep 0.2", func(s *Spec) { s.Backend = agent{framing: backend.Words} }, nil, outcome.Completed},
		"replaced":      {`cd $TMPDIR/..; mv spool x; cp x spool; echo "d stop"; sleep 0.2`, nil, nil, outcome.CLIError},
		"a goodbye": {`echo "d stop"; sleep 0.2`, nil, func(o *Options) {
			o.stopping = func() (bool, error) { return true, nil }
		}, outcome.ShuttingDown},
		"not recorded": {`echo "d stop"; sleep 0.2`, durable, func(o *Options) { o.flush = (&disk{fails: "record answered"}).flush }, outcome.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, func(o *Options) {
				if row.option != nil {
					row.option(o)
				}
			})
			s := script(row.does, func(s *Spec) { s.Backend, s.Grace = agent{settle: true}, 20*time.Second })
			if row.change != nil {
				row.change(&s)
			}
			r := start(t, m, s)
			wait(t, "the answer", r.Answered())
			if c := r.Record(); c.Answered != nil || c.State != Finished {
				t.Errorf("told before its end: %+v", c)
			}
			verdict(t, r, row.want)
		})
	}
}

// An end that is asked for cuts the grace short, and changes nothing that was told.
func TestAnswer_AndAnEndAskedFor(t *testing.T) {
	for _, why := range []outcome.Cause{outcome.Cancelled, outcome.Timeout, outcome.ShuttingDown} {
		m := open(t)
		r := start(t, m, lingering(t.TempDir(), "true"))
		wait(t, "the answer", r.Answered())
		r.End(why)
		verdict(t, r, outcome.Completed)
		if c := r.Record(); c.Warning != "" || c.Signal != "SIGKILL" {
			t.Errorf("%s: %+v", why, c)
		}
	}
}

// What a daemon has told before it was killed is what the next one says, whatever became
// of the run meanwhile.
func TestAnswer_OfAKilledDaemon(t *testing.T) {
	state := t.TempDir()
	at := time.Now().Add(-time.Minute)
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		for id, durable := range map[string]bool{"durable": true, "bound": false} {
			d := m.dirFor(Spec{ID: id, Durable: durable})
			record := Record{ID: id, State: Running, Client: "c", Durable: durable, Created: at, Started: &at}
			err := errors.Join(d.Make(nil), m.saveStart(d, record))
			record.State, record.Cause, record.Message, record.Finish, record.Answered = Ending, outcome.Completed, "told", "length", &at
			err = errors.Join(err, m.saveStart(d, record))
			if durable {
				kills := uint64(1)
				err = errors.Join(err, d.SaveEnd(outcome.Outcome{Receipt: cgroup.Receipt{OOMKills: &kills, EnforcedBy: cgroup.Enforced{Memory: cgroup.Kernel}}}))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	m := reopened(t, state, nil, nil)
	for id, says := range map[string]string{"durable": "memory limit", "bound": "daemon ended"} {
		r, err := m.Get(id)
		if err != nil {
			t.Fatalf("%s: unknown", id)
		}
		if v := verdict(t, r, outcome.Completed); v.Message != "told" {
			t.Errorf("%s: %+v", id, v)
		}
		if c := r.Record(); c.Finish != "length" || !strings.Contains(c.Warning, says) {
			t.Errorf("%s: %+v", id, c)
		}
	}
}

// What was told of a durable run is on the disk before, with its output.
func TestAnswer_OnTheDiskBeforeItIsTold(t *testing.T) {
	d, dir := new(disk), t.TempDir()
	m := open(t, func(o *Options) { o.flush = d.flush })
	r := start(t, m, lingering(dir, "true", durable))
	wait(t, "the answer", r.Answered())
	if all := d.list(); !slices.Contains(all, "record answered") || all[len(all)-1] != "r" {
		t.Errorf("flushed before it is told: %q", all)
	}
	onDisk, err := recordOnDisk(r.dir.StorePath("run.json"))
	if err != nil || onDisk.Cause != outcome.Completed || onDisk.Answered == nil || onDisk.Finish != "length" {
		t.Errorf("on disk: %+v, %v", onDisk, err)
	}
	letGo(t, dir)
	verdict(t, r, outcome.Completed)
}
