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
	waited *uint64 // microseconds for a processor, as PSI counts it; asked for in doubt only
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
	still := len(s.seen) > 0 && v.at.Sub(s.seen[0].at) >= s.window && idle(s.seen[0], v) && !s.starved(v)
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

// starved tells a run that wants to compute and is not let: on a crowded host it had
// to wait for a processor half of the time since that was first asked, or more.
// An idle runtime's timers wait now and then, too, but not for so long.
func (s *stillness) starved(v vital) bool {
	for _, from := range s.seen {
		if from.waited != nil && v.waited != nil && *v.waited >= *from.waited {
			return time.Duration(*v.waited-*from.waited)*time.Microsecond >= v.at.Sub(from.at)/2 && v.at.After(from.at)
		}
	}
	return false
}

// doubtful says that only I/O, or a wait for a processor, can still be a sign of life.
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
