package run

import (
	"time"

	"penstock/cgroup"
)

// vital is one look at a run's signs of life. Nil is unknown.
type vital struct {
	at     time.Time
	output int64
	cpu    *uint64 // microseconds
	io     *uint64 // bytes
}

func newVital(at time.Time, output int64, u cgroup.Usage) vital {
	return vital{at: at, output: output, cpu: u.CPUUsec, io: u.IOBytes}
}

// jitter is the share of one core below which a process counts as idle: the
// timers and garbage collector of a waiting runtime use that much.
const jitter = 0.01

// stillness tells whether a run showed no sign of life for a whole window. It
// keeps at most about windowSlots looks.
type stillness struct {
	window time.Duration
	seen   []vital // oldest first; the first is the last one outside the window
}

const windowSlots = 64

// look takes a new look, at or after the former one, and gives the answer.
func (s *stillness) look(v vital) bool {
	n := len(s.seen)
	if n > 0 && (v.output != s.seen[n-1].output || moved(s.seen[n-1].io, v.io)) {
		s.seen = s.seen[:0]
	}
	for len(s.seen) > 1 && v.at.Sub(s.seen[1].at) >= s.window {
		s.seen = s.seen[1:]
	}
	still := len(s.seen) > 0 && v.at.Sub(s.seen[0].at) >= s.window && idle(s.seen[0], v)
	if n = len(s.seen); n == 0 || v.at.Sub(s.seen[n-1].at) >= s.window/windowSlots {
		s.seen = append(s.seen, v)
	}
	return still
}

// moved is false where either is unknown.
func moved(before, after *uint64) bool {
	return before != nil && after != nil && *before != *after
}

// idle needs to know: unknown CPU time is no proof of idleness.
func idle(from, to vital) bool {
	if from.cpu == nil || to.cpu == nil || *to.cpu < *from.cpu {
		return false
	}
	used := time.Duration(*to.cpu-*from.cpu) * time.Microsecond
	return float64(used) < jitter*float64(to.at.Sub(from.at))
}

// doubtful says that only I/O can still be a sign of life.
func (s *stillness) doubtful(v vital) bool {
	return s.window > 0 && len(s.seen) > 0 && v.at.Sub(s.seen[0].at) >= s.window/2 && idle(s.seen[0], v)
}

// storageEvery is how often the processes of a still run are asked one by one
// what they have read and written.
const storageEvery = 4 * time.Second

// storage is a run's I/O where its group doesn't count it: without the io
// controller a program that waits for a slow disk would look dead.
type storage struct {
	asked time.Time
	bytes *uint64
}

// at is nil while unknown.
func (s *storage) at(now time.Time, read func() (uint64, error)) *uint64 {
	if s.asked.IsZero() || now.Sub(s.asked) >= storageEvery {
		s.asked, s.bytes = now, nil
		if n, err := read(); err == nil {
			s.bytes = &n
		}
	}
	return s.bytes
}
