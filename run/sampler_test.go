package run

import (
	"errors"
	"testing"
	"time"

	"penstock/cgroup"
)

// fakeUsage is a process tree whose figures a test makes up, and counts the questions.
type fakeUsage struct {
	cpu          uint64
	memory       uint64
	io           *uint64
	storage      func() (uint64, error)
	times, reads int
	waits        int
}

func (f *fakeUsage) CPUTime() (uint64, error) { f.times++; return f.cpu, nil }

func (f *fakeUsage) Usage() (cgroup.Usage, error) {
	f.reads++
	memory := f.memory
	return cgroup.Usage{MemoryBytes: &memory, IOBytes: f.io}, nil
}

func (f *fakeUsage) StorageIO() (uint64, error) {
	if f.storage == nil {
		return 0, errors.New("not to be asked")
	}
	return f.storage()
}

func (f *fakeUsage) CPUWait() *uint64 { f.waits++; return nil }

func noOutput() (spool, stderr int64, err error) { return 0, 0, nil }

// looks lets a detector look once a second as the dispatcher does, and tells at which
// seconds it took the run for still.
func looks(t *testing.T, d *stallDetector, p *fakeUsage, seconds int, change func(second int)) (still []int) {
	t.Helper()
	zero := time.Unix(1000, 0)
	for second := range seconds {
		change(second)
		now := zero.Add(time.Duration(second) * time.Second)
		if d.isEarly(now) {
			continue
		}
		signs, err := d.look(p, noOutput, now)
		if err != nil {
			t.Fatal(err)
		}
		d.shown.observe(signs)
		if d.ending.observe(signs) {
			still = append(still, second)
		}
	}
	return still
}

func detector() *stallDetector {
	return &stallDetector{shown: idleWindow{window: 30 * time.Second}, ending: idleWindow{window: 10 * time.Minute}}
}

// What a run that rests costs is counted: half a read a second, and all of its figures,
// which are some 25 system calls, every two minutes and before it is said to be stalled.
func TestSampler_RestIsCheap(t *testing.T) {
	p := &fakeUsage{cpu: 5_000, io: number(7)}
	looks(t, detector(), p, 600, func(int) {})
	if p.times > 302 || p.reads > 5+4 || p.waits > 3 {
		t.Errorf("ten minutes of rest: %d reads of its processor time, %d of all its usage, %d of its waits", p.times, p.reads, p.waits)
	}
}

// A run that works is looked at as ever, also after a long rest.
func TestSampler_WorkIsSeen(t *testing.T) {
	p, d := &fakeUsage{io: number(7)}, detector()
	zero := time.Unix(1000, 0)
	looks(t, d, p, 300, func(int) {})
	for second := 302; second < 310; second++ {
		p.cpu += 500_000
		p.memory = uint64(second)
		if _, err := d.look(p, noOutput, zero.Add(time.Duration(second)*time.Second)); err != nil {
			t.Fatal(err)
		}
		if *d.last.usage.MemoryBytes != uint64(second) || d.last.at != zero.Add(time.Duration(second)*time.Second) {
			t.Errorf("second %d: memory of second %d is shown, as of %v", second, *d.last.usage.MemoryBytes, d.last.at)
		}
	}
	if d.last.cores == nil || *d.last.cores != 0.5 {
		t.Errorf("busy cores %v, want 0.5", d.last.cores)
	}
}

// Figures that are shown are never older than two minutes, those of a run that does
// something 10 s.
func TestSampler_FiguresAge(t *testing.T) {
	for _, test := range []struct {
		name string
		cpu  uint64 // microseconds a second
		most time.Duration
	}{{"rests", 0, restAge + 2*time.Second}, {"does little", 300, quietAge + 2*time.Second}, {"works", 100_000, time.Second}} {
		p, d := &fakeUsage{io: number(7)}, detector()
		zero := time.Unix(1000, 0)
		looks(t, d, p, 300, func(second int) {
			p.cpu += test.cpu
			if d.last == nil {
				return
			}
			if age := zero.Add(time.Duration(second) * time.Second).Sub(d.last.at); age > test.most {
				t.Errorf("%s: at second %d the figures are %v old", test.name, second, age)
			}
		})
	}
}

// A run without processor time that moves data is not still: before it is called so
// everything is asked for.
func TestStallDetector_AsksBeforeItSaysSo(t *testing.T) {
	p, d := &fakeUsage{}, detector()
	if still := looks(t, d, p, 2400, func(second int) { p.io = number(uint64(second)) }); len(still) > 0 {
		t.Errorf("a run that moves data was taken for still at second %d", still[0])
	}
	p, d = &fakeUsage{io: number(7)}, detector()
	if still := looks(t, d, p, 700, func(int) {}); len(still) == 0 || still[0] < 600 || still[0] > 603 {
		t.Errorf("a run that does nothing for 10 minutes: still at %v", still)
	}
}
