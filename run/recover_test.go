package run

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/cgroup"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"
)

// past puts a run on disk as the version before left it.
func past(t *testing.T, state, id string, r any) {
	t.Helper()
	dir := filepath.Join(state, "runs", id)
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"run.json": string(data), store.SpoolName: "t a\n", "prompt": "p"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A daemon that was killed after the group of a run it had ended was gone, and
// before the run's record said so, has noted why.
func TestRecover_EndThatWasNoted(t *testing.T) {
	state := t.TempDir()
	s, err := store.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now().Add(-time.Minute)
	for _, id := range []string{"overdue", "torn"} {
		d := s.Run(id)
		if err := d.Make(nil); err != nil {
			t.Fatal(err)
		}
		d.Flush = (*os.File).Sync
		peak := uint64(5)
		err := errors.Join(d.Save(Record{ID: id, State: Running, Created: started, Started: &started}),
			d.SaveEnd(outcome.Outcome{Reason: outcome.Timeout, Survived: 2, Receipt: cgroup.Receipt{MemoryPeakBytes: &peak, EnforcedBy: cgroup.Enforced{Kill: cgroup.Kernel}}}))
		if id == "torn" {
			err = errors.Join(err, os.Truncate(d.StorePath("end.json"), 5))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m := open(t, func(o *Options) { o.StateDir = state })
	for id, want := range map[string]outcome.Cause{"overdue": outcome.Timeout, "torn": outcome.Lost} {
		r, err := m.Get(id)
		if err != nil {
			t.Fatalf("%s: not there", id)
		}
		verdict(t, r, want)
	}
	if r, _ := m.Get("overdue"); r.Record().Receipt == nil || r.Record().Survived != 2 {
		t.Errorf("its receipt: %+v", r.Record())
	}
}

func TestRecover_RunsOfAnEarlierDaemon(t *testing.T) {
	state := t.TempDir()
	now := time.Now()
	ended := now.Add(-time.Minute)
	past(t, state, "live", Record{ID: "live", State: Running, Client: "c", Created: now.Add(-time.Hour), Started: &ended})
	past(t, state, "done", Record{ID: "done", State: Finished, Cause: outcome.Completed, Created: ended, Ended: &ended})
	past(t, state, "broken", "no record")
	past(t, state, "renamed", Record{ID: "other", State: Finished, Ended: &ended})
	lost := &losses{}
	m := open(t, func(o *Options) { o.StateDir, o.Observer = state, lost })
	if diff := cmp.Diff([]string{"live"}, lost.runs); diff != "" {
		t.Errorf("the observer heard of (-want +got):\n%s", diff)
	}
	for id, want := range map[string]outcome.Cause{"live": outcome.Lost, "done": outcome.Completed, "broken": outcome.Lost, "renamed": outcome.Lost} {
		r, err := m.Get(id)
		if err != nil {
			t.Errorf("%s: not there", id)
			continue
		}
		verdict(t, r, want)
		if _, err := r.Follow(0).Next(t.Context()); !errors.Is(err, spool.ErrNoReplay) {
			t.Errorf("%s: follow: %v", id, err)
		}
		r.End(outcome.Cancelled)
	}
	onDisk, err := recordOnDisk(m.state.Run("live").StorePath("run.json"))
	if err != nil || onDisk.State != Finished || onDisk.Cause != outcome.Lost {
		t.Errorf("lost run on disk: %+v, %v", onDisk, err)
	}
	if diff := cmp.Diff([]string{"spool"}, names(t, filepath.Join(state, "runs", "live"))); diff != "" {
		t.Errorf("lost run's scratch (-want +got):\n%s", diff)
	}
	if _, err := m.Start(t.Context(), script("echo 'd stop'", func(s *Spec) { s.ID = "done" })); !errors.Is(err, ErrExists) {
		t.Errorf("id of an earlier run: %v", err)
	}
	if got := m.List(Filter{Client: "c", Limit: 5}); len(got) != 1 || got[0].ID != "live" {
		t.Errorf("listed for c: %+v", got)
	}
}

// losses are the runs an observer hears of that ended unwatched.
type losses struct {
	unobserved
	runs []string
}

func (l *losses) RunFinished(r Record, o outcome.Outcome) {
	if r.Cause == outcome.Lost && o.Started.IsZero() {
		l.runs = append(l.runs, r.ID)
	}
}
