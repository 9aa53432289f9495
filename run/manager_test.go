package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/spawn"
)

func TestRunToItsEnd(t *testing.T) {
	m := open(t)
	var q atomic.Pointer[backend.Request]
	s := script(`cat; echo; echo "t $TMPDIR"; echo "t $PWD"; touch "$TMPDIR/x" y; echo "note" >&2; echo "d stop"`, func(s *Spec) {
		s.Backend = agent{seen: &q, settle: true, files: []backend.File{{Name: "conf/deep/a.json", Data: []byte("{}")}}}
		s.Request.Prompt = "t prompt "
	})
	gone := counted(t, &s)
	r := start(t, m, s)
	v := verdict(t, r, spawn.Completed)
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
	onDisk, err := readRecord(r.dir.inStore(recordName))
	if err != nil || onDisk.State != Finished || onDisk.Cause != spawn.Completed {
		t.Errorf("record on disk: %+v, %v", onDisk, err)
	}
	for name, mode := range map[string]os.FileMode{dir: 0o700, r.dir.inStore(recordName): 0o600, r.dir.file("spool"): 0o600, r.dir.file("stderr"): 0o600} {
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

func TestVerdicts(t *testing.T) {
	m := open(t)
	tests := []struct {
		name, script string
		change       func(*Spec)
		want         spawn.Cause
		says         string
	}{
		{"failed by its own word", "echo 'f quota'; exit 0", nil, spawn.ProviderError, "quota"},
		{"exit status", "seq 1000 >&2; echo last words >&2; exit 3", nil, spawn.CLIError, "last words"},
		{"no last word", "echo 't half'", nil, spawn.CLIError, ""},
		{"done and then lingering", "echo 'd stop'; sleep 300", nil, spawn.Completed, ""},
		{"killed from outside", "kill -9 $$", nil, spawn.Killed, ""},
		{"over-long line", "head -c 3000 /dev/zero | tr '\\0' x; sleep 300", func(s *Spec) { s.LineMax = 2000 }, spawn.OutputLimit, ""},
		{"output cap", "while :; do echo 't xxxxxxxxxxxxxxxxxxxx'; done", func(s *Spec) { s.OutputMax = 100 << 10 }, spawn.OutputLimit, ""},
		{"output cap by stderr", "while :; do echo xxxxxxxxxxxxxxxxxxxx >&2; done", func(s *Spec) { s.OutputMax = 100 << 10 }, spawn.OutputLimit, ""},
		{"output cap and gone at once", "head -c 300000 /dev/zero; echo 'd stop'", func(s *Spec) { s.OutputMax = 1000 }, spawn.OutputLimit, ""},
		{"deadline", "echo 't a'; sleep 300", func(s *Spec) { s.Deadline = time.Now().Add(300 * time.Millisecond) }, spawn.Timeout, ""},
		{"stalled", "echo 't a'; sleep 300", func(s *Spec) { s.Stall = 1500 * time.Millisecond }, spawn.Stalled, ""},
		{"program of words", "echo hello you", func(s *Spec) { s.Backend = agent{framing: backend.Words} }, spawn.Completed, ""},
		{"program of words that fails", "echo hello; exit 2", func(s *Spec) { s.Backend = agent{framing: backend.Words} }, spawn.CLIError, "2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := script(test.script)
			if test.change != nil {
				test.change(&s)
			}
			gone := counted(t, &s)
			r := start(t, m, s)
			if v := verdict(t, r, test.want); !strings.Contains(v.Message, test.says) {
				t.Errorf("message %q does not say %q", v.Message, test.says)
			}
			events(t, r.Follow(0))
			wait(t, "removal", r.done)
			if gone.Load() != 1 {
				t.Errorf("OnGone came %d times", gone.Load())
			}
		})
	}
}

func TestStartFailures(t *testing.T) {
	m := open(t)
	start(t, m, script("echo 'd stop'", func(s *Spec) { s.ID = "taken" }))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		change func(*Spec)
		check  func(error) bool
	}{
		{"no program", t.Context(), func(s *Spec) { s.Argv = []string{"/nonexistent/agent"} }, causeIs(spawn.CLIMissing)},
		{"no working directory", t.Context(), func(s *Spec) { s.Cwd = "/nonexistent" }, causeIs(spawn.CLIMissing)},
		{"id taken", t.Context(), func(s *Spec) { s.ID = "taken" }, func(err error) bool { return errors.Is(err, ErrExists) }},
		{"id leaves the directory", t.Context(), func(s *Spec) { s.ID = ".." }, func(err error) bool { return err != nil }},
		{"context over", ended, func(*Spec) {}, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"deadline over", t.Context(), func(s *Spec) { s.Deadline = time.Now().Add(-time.Second) }, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"adapter's file outside", t.Context(), func(s *Spec) {
			s.Backend = agent{files: []backend.File{{Name: "../x", Data: []byte("x")}}}
		}, func(err error) bool { return strings.Contains(err.Error(), "below the run's directory") }},
		{"adapter's file over ours", t.Context(), func(s *Spec) {
			s.Backend = agent{files: []backend.File{{Name: "tmp", Data: []byte("x")}}}
		}, func(err error) bool { return errors.Is(err, os.ErrExist) }},
	}
	before := names(t, m.state.runs())
	for _, test := range tests {
		s := script("echo 'd stop'", test.change)
		gone := counted(t, &s)
		r, err := m.Start(test.ctx, s)
		if r != nil || err == nil || !test.check(err) {
			t.Errorf("%s: got %v, %v", test.name, r, err)
		}
		if gone.Load() != 1 {
			t.Errorf("%s: OnGone came %d times", test.name, gone.Load())
		}
	}
	if diff := cmp.Diff(before, names(t, m.state.runs())); diff != "" {
		t.Errorf("failed starts left directories (-before +after):\n%s", diff)
	}
	if n := len(m.List(Filter{})); n != 1 {
		t.Errorf("%d runs listed, want the one that was started", n)
	}
}

func causeIs(want spawn.Cause) func(error) bool {
	return func(err error) bool {
		var s *spawn.StartError
		return errors.As(err, &s) && s.Cause == want
	}
}

func TestReadersOfDifferentSpeed(t *testing.T) {
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
	verdict(t, r, spawn.Completed)
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

func TestReaderWaitsUnderItsContext(t *testing.T) {
	m := open(t)
	r := start(t, m, script("sleep 300"))
	d := r.Follow(0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	r.End(spawn.Cancelled)
	if _, err := d.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	d.Close()
	d.Close()
	if _, err := d.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	verdict(t, r, spawn.Cancelled)
}

func TestEventsComeWhileTheRunLives(t *testing.T) {
	for _, polled := range []bool{false, true} {
		t.Run(fmt.Sprintf("polled=%v", polled), func(t *testing.T) {
			m := open(t)
			if polled {
				if err := m.notifier.close(); err != nil {
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
			r.End(spawn.ClientGone)
			verdict(t, r, spawn.ClientGone)
		})
	}
}

func TestBackgroundChildHoldsStdout(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`setsid sleep 300 & echo "t said"; echo "d stop"; exit 0`, func(s *Spec) { s.Backend = agent{settle: true}; s.Grace = time.Hour })) // the child may not hold the end up for so long
	verdict(t, r, spawn.Completed)
	if got := text(events(t, r.Follow(0))); got != "said" {
		t.Errorf("text %q", got)
	}
	wait(t, "removal", r.done)
}

func TestConversation(t *testing.T) {
	m := open(t)
	// Several times what a FIFO holds; bash reads it byte by byte.
	prompt := strings.Repeat("0123456789abcdef", 256<<10/16)
	r := start(t, m, script(`read hello; echo "t $hello"; sleep 0.2; read prompt; echo "t ${#prompt}"; echo "w more"; read more; echo "t $more"; echo "d stop"; sleep 300`, func(s *Spec) {
		s.Backend = agent{talks: true}
		s.Argv[0] = "/bin/bash"
		s.Request.Prompt = prompt
	}))
	verdict(t, r, spawn.Completed)
	if got, want := text(events(t, r.Follow(0))), fmt.Sprintf("hello%dmore", len(prompt)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPromptNobodyReads(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`echo "f enough"; sleep 300`, func(s *Spec) {
		s.Backend = agent{talks: true}
		s.Request.Prompt = string(bytes.Repeat([]byte("x"), 8<<20))
	}))
	verdict(t, r, spawn.ProviderError)
}

func TestManyAtOnceLeaveNothing(t *testing.T) {
	m := open(t)
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

func TestEndOfTheManager(t *testing.T) {
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
	if err := m.End(t.Context(), t.Context(), spawn.ShuttingDown); err != nil {
		t.Fatal(err)
	}
	verdict(t, r, spawn.ShuttingDown)
	if err := <-waiting; !causeIs(spawn.ShuttingDown)(err) {
		t.Errorf("the waiting one: %v", err)
	}
	if _, err := m.Start(t.Context(), script("true")); !causeIs(spawn.ShuttingDown)(err) {
		t.Errorf("a later one: %v", err)
	}
}

func awaitState(t *testing.T, m *Manager, id string, want State) *Run {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if r, ok := m.Get(id); ok && r.Record().State == want {
			return r
		}
	}
	t.Fatalf("run %s is not %s", id, want)
	return nil
}

func TestProbeVersion(t *testing.T) {
	m := open(t)
	program := filepath.Join(t.TempDir(), "agent")
	write := func(text string) {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ script, want, fails string }{
		{"echo; echo \"agent 1.2 $1\"", "agent 1.2 --version", ""},
		{"echo WARNING: no alias could be made; echo agent 3.4", "agent 3.4", ""},
		{"echo broken >&2; exit 4", "", "exit status 4: broken"},
		{"exec yes 1.0", "1.0", ""},
		{"sleep 300 & echo 2.0", "2.0", ""},
		{"", "", "printed nothing"},
	} {
		write(test.script)
		got, err := m.ProbeVersion(t.Context(), []string{program}, []string{"PATH=/usr/bin:/bin"}, nil)
		if got != test.want || (err == nil) != (test.fails == "") || (err != nil && !strings.Contains(err.Error(), test.fails)) {
			t.Errorf("%q: got %q, %v", test.script, got, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	write("sleep 300")
	if _, err := m.ProbeVersion(ctx, []string{program}, []string{"PATH=/usr/bin:/bin"}, nil); err == nil {
		t.Error("a program that never answers gave a version")
	}
}

// A run that lives on is not pruned, though this daemon has let it go.
func TestWhatIsLeftIsNotPruned(t *testing.T) {
	r := newRun(Record{ID: "r", Durable: true}, slog.New(slog.DiscardHandler))
	close(r.left)
	close(r.done)
	m := &Manager{runs: map[string]*Run{"r": r}, o: Options{Keep: time.Nanosecond}}
	if old := m.outdated(time.Now().Add(time.Hour), 1<<40, 0); len(old) != 0 || len(m.runs) != 1 {
		t.Errorf("%d pruned", len(old))
	}
}
