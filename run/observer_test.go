package run

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
)

// witness is an observer that holds the first output up and looks at the end.
type witness struct {
	t       *testing.T
	manager *Manager
	let     chan struct{}
	seen    []string
}

func (w *witness) RunStarted(r Record, spawn time.Duration) {
	w.seen = append(w.seen, "started")
	if r.State != Running || r.Started == nil || spawn <= 0 {
		w.t.Errorf("started: %+v after %s", r, spawn)
	}
}

func (w *witness) FirstOutput(r Record, after time.Duration) {
	<-w.let
	w.seen = append(w.seen, "output")
}

func (w *witness) RunFinished(r Record, o outcome.Outcome) {
	w.seen = append(w.seen, "finished")
	run, _ := w.manager.Get(r.ID)
	if isClosed(run.Ended()) {
		w.t.Error("Ended is closed before all is observed")
	}
	if r.State != Finished || r.Cause != outcome.OutputLimit || run.Verdict().Cause != r.Cause {
		w.t.Errorf("finished: %+v", r)
	}
}

// What is written beyond the cap before the kill comes is read nowhere, however
// much it is.
func TestOutputMax_NothingBeyondIsRead(t *testing.T) {
	m := open(t)
	const most = 64 << 10
	r := start(t, m, script("dd if=/dev/zero bs=1M count=1; sleep 300", func(s *Spec) { s.Backend, s.OutputMax = agent{framing: backend.Words}, most }))
	d := r.Follow(0) // while it lives
	live := text(events(t, d))
	verdict(t, r, outcome.OutputLimit)
	if n := r.Record().OutputBytes; n != most {
		t.Errorf("%d bytes stay of 1 MiB, and the cap is %d", n, most)
	}
	if len(live) > most || len(live) < most/2 {
		t.Errorf("%d bytes were read, and the cap is %d", len(live), most)
	}
	if again := text(events(t, r.Follow(0))); again != live {
		t.Errorf("read again: %d bytes, at first %d", len(again), len(live))
	}
}

// The leader writes too much and is gone before it is looked at: it must not
// pass for completed.
func TestOutputMax_OfALeaderThatLeft(t *testing.T) {
	look := &witness{t: t, let: make(chan struct{})}
	m := open(t, func(o *Options) { o.Observer = look })
	look.manager = m
	hold := filepath.Join(t.TempDir(), "hold")
	r := start(t, m, script(`echo "2 x"; until [ -e `+hold+` ]; do sleep 0.01; done; head -c 300000 /dev/zero; echo; echo "d stop"`, func(s *Spec) { s.OutputMax = 1000 }))
	d := r.Follow(0)
	defer d.Close()
	if _, err := d.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the supervisor, too, is past its first look
	p := r.process
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "leader's exit", p.Exited())
	close(look.let)
	verdict(t, r, outcome.OutputLimit)
	if diff := cmp.Diff([]string{"started", "output", "finished"}, look.seen); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}
