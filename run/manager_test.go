package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
	"penstock/spawn"
)

func TestRun_ToItsEnd(t *testing.T) {
	m := open(t)
	var q atomic.Pointer[backend.Request]
	s := script(`cat; echo; echo "t $TMPDIR"; echo "t $PWD"; touch "$TMPDIR/x" y; echo "note" >&2; echo "d stop"`, func(s *Spec) {
		s.Backend = agent{seen: &q, settle: true, files: []backend.File{{Name: "conf/deep/a.json", Data: []byte("{}")}}}
		s.Request.Prompt = "t prompt "
	})
	gone := counted(t, &s)
	r := start(t, m, s)
	v := verdict(t, r, outcome.Completed)
	if v.Message == "" {
		t.Error("no message")
	}
	dir := m.dirOf(r.ID())
	if got, want := text(events(t, r.Follow(0))), "prompt "+dir+"/tmp"+dir+"/work"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
	if p := q.Load(); p.Dir != dir || p.Tmp != dir+"/tmp" || p.Cwd != dir+"/work" || p.Root != (os.Geteuid() == 0) {
		t.Errorf("request is %+v", p)
	}
	wait(t, "removal", r.done)
	if gone.Load() != 1 {
		t.Errorf("OnGone came %d times", gone.Load())
	}
	if diff := cmp.Diff([]string{"spool", "stderr"}, names(t, dir)); diff != "" {
		t.Errorf("left in the run's directory (-want +got):\n%s", diff)
	}
	c := r.Record()
	if c.Exit == nil || *c.Exit != 0 || c.Finish != "stop" || c.OutputBytes == 0 || c.Receipt == nil || c.Started == nil || c.Exited == nil || string(c.Metadata) != `{"k":1}` {
		t.Errorf("record: %+v", c)
	}
	_, onDisk, _, err := m.recall(r.ID())
	if err != nil || onDisk.State != Finished || onDisk.Cause != outcome.Completed {
		t.Errorf("record on disk: %+v, %v", onDisk, err)
	}
	for name, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(m.state.Store.Of("history")[0], "00000001.log"): 0o600, r.dir.File("spool"): 0o600, r.dir.File("stderr"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("mode of %q: %v, %v", name, info.Mode(), err)
		}
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func causeIs(want outcome.Cause) func(error) bool {
	return func(err error) bool {
		var s *spawn.StartError
		return errors.As(err, &s) && s.Cause == want
	}
}

func TestReader_OfDifferentSpeed(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`i=0; while [ $i -lt 2000 ]; do echo "2 $i"; i=$((i+1)); done; read x; echo "d stop"`, func(s *Spec) {
		s.Backend = agent{talks: true}
	}))
	fast, slow := r.Follow(0), r.Follow(0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	first, err := slow.Next(ctx)
	if err != nil || first.Seq != 1 {
		t.Fatalf("first event %+v, %v", first, err)
	}
	// The slow one stands still; the run and the fast one go on to the end.
	quick := events(t, fast)
	verdict(t, r, outcome.Completed)
	rest := events(t, slow)
	if diff := cmp.Diff(quick[1:], rest); diff != "" {
		t.Errorf("readers differ:\n%s", diff)
	}
	if len(quick) != 4001 {
		t.Errorf("%d events, want 4001", len(quick))
	}
	if diff := cmp.Diff(quick[3990:], events(t, r.Follow(3990))); diff != "" {
		t.Errorf("resumed reader differs:\n%s", diff)
	}
}

func TestReader_WaitsUnderItsContext(t *testing.T) {
	m := open(t)
	r := start(t, m, script("sleep 300"))
	d := r.Follow(0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	r.End(outcome.Cancelled)
	if _, err := d.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	d.Close()
	d.Close()
	if _, err := d.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	verdict(t, r, outcome.Cancelled)
}

func TestReader_EventsComeWhileTheRunLives(t *testing.T) {
	for _, polled := range []bool{false, true} {
		t.Run(fmt.Sprintf("polled=%v", polled), func(t *testing.T) {
			m := open(t)
			if polled {
				if err := m.notifier.Close(); err != nil {
					t.Fatal(err)
				}
				m.notifier = nil
			}
			r := start(t, m, script(`echo "2 a"; read x; echo "2 b"; exec sleep 300`, func(s *Spec) { s.Backend = agent{talks: true} }))
			d := r.Follow(0)
			defer d.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for want := uint64(1); want <= 4; want++ {
				e, err := d.Next(ctx)
				if err != nil || e.Seq != want {
					t.Fatalf("event %d: %+v, %v", want, e, err)
				}
			}
			r.End(outcome.ClientGone)
			verdict(t, r, outcome.ClientGone)
		})
	}
}

// What a run writes before its output is watched is read while it lives, also by a reader
// that had looked before.
func TestReader_EventsFromBeforeTheWatch(t *testing.T) {
	m := open(t)
	for range 20 {
		r := start(t, m, script("echo 2 early; exec sleep 600"))
		d := r.Follow(0)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if e, err := d.Next(ctx); err != nil || e.Seq != 1 {
			t.Errorf("got %+v, %v", e, err)
		}
		cancel()
		d.Close()
		r.End(outcome.Cancelled)
		wait(t, "its end", r.Ended())
	}
}

func TestRun_BackgroundChildHoldsStdout(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`setsid sleep 300 & echo "t said"; echo "d stop"; exit 0`, func(s *Spec) { s.Backend = agent{settle: true}; s.Grace = time.Hour })) // the child may not hold the end up for so long
	verdict(t, r, outcome.Completed)
	if got := text(events(t, r.Follow(0))); got != "said" {
		t.Errorf("text %q", got)
	}
	wait(t, "removal", r.done)
}

func TestRun_Conversation(t *testing.T) {
	m := open(t)
	// Several times what a FIFO holds; bash reads it byte by byte.
	prompt := strings.Repeat("0123456789abcdef", 256<<10/16)
	r := start(t, m, script(`read hello; echo "t $hello"; sleep 0.2; read prompt; echo "t ${#prompt}"; echo "w more"; read more; echo "t $more"; echo "d stop"; sleep 300`, func(s *Spec) {
		s.Backend = agent{talks: true}
		s.Argv[0] = "/bin/bash"
		s.Request.Prompt = prompt
	}))
	verdict(t, r, outcome.Completed)
	if got, want := text(events(t, r.Follow(0))), fmt.Sprintf("hello%dmore", len(prompt)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestManager_ManyAtOnceLeaveNothing(t *testing.T) {
	m := open(t)
	wait(t, "removal", start(t, m, script("echo 'd stop'")).done) // from here on the index has a file open
	before := descriptors(t)
	var all sync.WaitGroup
	var gone atomic.Int32
	for i := range 64 {
		all.Go(func() {
			s := script(`echo "t a"; sleep 0.1; echo "t b"; echo "d stop"`)
			s.OnGone = func() { gone.Add(1) }
			if i%2 == 0 {
				s.Backend = agent{talks: true}
			}
			r, err := m.Start(t.Context(), s)
			if err != nil {
				t.Error(err)
				return
			}
			if got := text(events(t, r.Follow(0))); got != "ab" {
				t.Errorf("run %d says %q", i, got)
			}
			wait(t, "removal", r.done)
		})
	}
	all.Wait()
	if gone.Load() != 64 {
		t.Errorf("OnGone came %d times for 64 runs", gone.Load())
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	for _, c := range m.List(Filter{}) {
		if diff := cmp.Diff([]string{"spool", "stderr"}, names(t, m.dirOf(c.ID))); diff != "" {
			t.Fatalf("left (-want +got):\n%s", diff)
		}
	}
	if n := len(m.Snapshot().Runs); n != 0 {
		t.Errorf("%d runs in the snapshot", n)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	return len(names(t, "/proc/self/fd"))
}

func TestManager_End(t *testing.T) {
	m := open(t)
	r := start(t, m, script("sleep 300", func(s *Spec) { s.Session = "s" }))
	waiting := make(chan error, 1)
	go func() {
		_, err := m.Start(t.Context(), script("sleep 300", func(s *Spec) { s.Session = "s"; s.ID = "waiting" }))
		waiting <- err
	}()
	awaitState(t, m, "waiting", Waiting)
	if n := len(m.Snapshot().Runs); n != 1 {
		t.Errorf("%d live runs in the snapshot, want 1", n)
	}
	if err := m.End(t.Context(), t.Context(), outcome.ShuttingDown); err != nil {
		t.Fatal(err)
	}
	verdict(t, r, outcome.ShuttingDown)
	if err := <-waiting; !causeIs(outcome.ShuttingDown)(err) {
		t.Errorf("the waiting one: %v", err)
	}
	if _, err := m.Start(t.Context(), script("true")); !causeIs(outcome.ShuttingDown)(err) {
		t.Errorf("a later one: %v", err)
	}
}

func awaitState(t *testing.T, m *Manager, id string, want State) *Run {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if r, err := m.Get(id); err == nil && r.Record().State == want {
			return r
		}
	}
	t.Fatalf("run %s is not %s", id, want)
	return nil
}
