package run

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/cgroup"
	"penstock/outcome"
)

func number(n uint64) *uint64 { return &n }

func TestIdleWindow(t *testing.T) {
	type look struct {
		second      int
		output      int64
		cpu, io     *uint64
		want        bool
		description string
	}
	tests := []struct {
		name  string
		looks []look
	}{
		{"silent", []look{{0, 5, number(0), number(0), false, ""}, {9, 5, number(0), number(0), false, ""}, {10, 5, number(0), number(0), true, ""}}},
		{"young", []look{{0, 0, number(0), nil, false, ""}, {5, 0, number(0), nil, false, ""}}},
		{"output", []look{{0, 5, number(0), nil, false, ""}, {9, 6, number(0), nil, false, ""}, {10, 6, number(0), nil, false, ""}, {19, 6, number(0), nil, true, ""}}},
		{"io", []look{{0, 5, number(0), number(1), false, ""}, {9, 5, number(0), number(2), false, ""}, {10, 5, number(0), number(2), false, ""}}},
		{"io unknown", []look{{0, 5, number(0), nil, false, ""}, {10, 5, number(0), nil, true, ""}}},
		{"cpu busy", []look{{0, 5, number(0), nil, false, ""}, {10, 5, number(200_000), nil, false, ""}}},
		{"cpu jitter", []look{{0, 5, number(0), nil, false, ""}, {10, 5, number(90_000), nil, true, ""}}},
		{"cpu unknown", []look{{0, 5, nil, nil, false, ""}, {10, 5, nil, nil, false, ""}}},
		{"burst leaves the window", []look{{0, 5, number(0), nil, false, ""}, {2, 5, number(900_000), nil, false, ""}, {10, 5, number(900_000), nil, false, ""}, {12, 5, number(900_000), nil, true, ""}}},
	}
	zero := time.Unix(1000, 0)
	for _, test := range tests {
		s := idleWindow{window: 10 * time.Second}
		for _, l := range test.looks {
			u := cgroup.Usage{CPUUsec: l.cpu, IOBytes: l.io}
			if got := s.observe(newActivity(zero.Add(time.Duration(l.second)*time.Second), l.output, u)); got != l.want {
				t.Errorf("%s, second %d: still is %v", test.name, l.second, got)
			}
		}
	}
	s := idleWindow{window: 10 * time.Minute}
	for i := range 10_000 {
		s.observe(newActivity(zero.Add(time.Duration(i)*time.Second), 5, cgroup.Usage{}))
	}
	if len(s.seen) > windowSlots+2 {
		t.Errorf("%d looks are kept", len(s.seen))
	}
}

// Without the io controller a run that only moves data still lives, one that
// does nothing doesn't, and a busy one is not asked.
func TestIdleWindow_WithoutIOController(t *testing.T) {
	for _, test := range []struct {
		name        string
		bytes       func(second int) (uint64, error)
		cpu         uint64 // microseconds a second
		still, asks bool
	}{
		{"waits for a disk", func(s int) (uint64, error) { return uint64(s), nil }, 100, false, true},
		{"waits for nothing", func(int) (uint64, error) { return 7, nil }, 100, true, true},
		{"not to be asked", func(int) (uint64, error) { return 0, io.ErrUnexpectedEOF }, 100, true, true},
		{"computes", func(int) (uint64, error) { return 7, nil }, 500_000, false, false},
	} {
		v := stallDetector{ending: idleWindow{window: time.Minute}}
		zero, asked, still := time.Unix(1000, 0), 0, false
		for second := range 180 {
			cpu := test.cpu * uint64(second)
			signs := activity{at: zero.Add(time.Duration(second) * time.Second), output: 5, cpu: &cpu}
			if v.ending.halfway(signs) {
				signs.io = v.io.at(signs.at, func() (uint64, error) { asked++; return test.bytes(second) })
			}
			still = v.ending.observe(signs) || still
		}
		if still != test.still || (asked > 0) != test.asks || asked > 180/4 {
			t.Errorf("%s: still %v after %d questions", test.name, still, asked)
		}
	}
}

// A run that is ready and gets no processor is no stalled one; timers that wait a
// little don't hide one that is.
func TestIdleWindow_StarvedIsNotIdle(t *testing.T) {
	for _, test := range []struct {
		name  string
		wait  func(second int) *uint64 // microseconds in all
		still bool
	}{
		{"starved", func(s int) *uint64 { return number(uint64(s) * 950_000) }, false},
		{"timers wait", func(s int) *uint64 { return number(uint64(s) * 50_000) }, true},
		{"starved before, and now idle", func(s int) *uint64 { return number(min(uint64(s), 40) * 950_000) }, true},
		{"unknown", func(int) *uint64 { return nil }, true},
	} {
		s, zero, still := idleWindow{window: time.Minute}, time.Unix(1000, 0), false
		for second := range 240 {
			signs := activity{at: zero.Add(time.Duration(second) * time.Second), output: 5, cpu: number(uint64(second) * 100)}
			if s.halfway(signs) {
				signs.waited = test.wait(second)
			}
			still = s.observe(signs) || still
		}
		if still != test.still {
			t.Errorf("%s: still %v", test.name, still)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	got := mergeEnv([]string{"A=1", "B=2"}, []string{"B=3", "C="}, nil, []string{"A=4"})
	if diff := cmp.Diff([]string{"A=4", "B=3", "C="}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSnapshot(t *testing.T) {
	m := open(t, func(o *Options) { o.StallAfter = time.Second })
	first := m.Snapshot()
	if first.Heartbeat.IsZero() || len(first.Runs) != 0 {
		t.Errorf("at first: %+v", first)
	}
	r := start(t, m, script("exec sleep 300"))
	if s := m.Snapshot(); len(s.Runs) != 1 || s.Runs[0].ID != r.ID() || s.Runs[0].Client != "tester" || s.Runs[0].Started.IsZero() {
		t.Errorf("with a run: %+v", s)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s := m.Snapshot()
		if s.Stalled == 1 && s.Runs[0].Stalled && s.Processes >= 1 && s.Heartbeat.After(first.Heartbeat) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("an idle run is not shown as stalled: %+v", s)
		}
	}
	r.End(outcome.Cancelled)
	verdict(t, r, outcome.Cancelled)
	if s := m.Snapshot(); len(s.Runs) != 0 {
		t.Errorf("after its end: %+v", s)
	}
}

func TestStdinWriter_EndsInTheMiddleOfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newStdinWriter(path, nil); err == nil {
		t.Fatal("a writer without a reader")
	}
	listener, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s, err := newStdinWriter(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.queue([][]byte{make([]byte, 1<<20)})
	if _, err := listener.Read(make([]byte, 1)); err != nil { // it is writing
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	closed := make(chan struct{})
	go func() { s.close(); close(closed) }()
	select {
	case <-closed:
	case <-ctx.Done():
		t.Fatal("close hangs on a line that is not read")
	}
	s.queue([][]byte{[]byte("late")})
	s.close()
}

// A run that ends well while the daemon is asked to end, and the service manager
// doesn't say whether it ends the runs, too, may have said half of its answer.
func TestConclude_ServiceManagerThatDoesNotAnswer(t *testing.T) {
	stop, asked := context.WithCancel(t.Context())
	defer asked()
	m := open(t, func(o *Options) {
		o.Stop, o.stopping = stop, func() (bool, error) { return false, context.DeadlineExceeded }
	})
	verdict(t, start(t, m, script("echo 'd stop'")), outcome.Completed)
	asked()
	verdict(t, start(t, m, script("echo 'd stop'")), outcome.ShuttingDown)
}
