package run

import (
	"io"
	"testing"
	"time"

	"penstock/cgroup"
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
			p := &fakeUsage{cpu: cpu, storage: func() (uint64, error) { asked++; return test.bytes(second) }}
			signs, err := v.look(p, noOutput, zero.Add(time.Duration(second)*time.Second))
			if err != nil {
				t.Fatal(err)
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
			if s.isSuspect(signs) {
				signs.full, signs.waited = true, test.wait(second)
			}
			still = s.observe(signs) || still
		}
		if still != test.still {
			t.Errorf("%s: still %v", test.name, still)
		}
	}
}
