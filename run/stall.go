package run

import (
	"slices"
	"time"

	"penstock/cgroup"
	"penstock/outcome"
)

// stallDetector is the dispatcher's memory of one live run.
type stallDetector struct {
	sampler
	shown  idleWindow // for the snapshot
	ending idleWindow // ends the run; window 0 is never
	io     storageIO  // where the groups don't count it
}

// observe looks at a run, keeps what it saw as the run's sample, and ends the run
// where it has stalled for too long. It tolerates a group that vanishes meanwhile.
func (d *stallDetector) observe(r *Run, now time.Time) {
	p := r.liveProcess()
	if p == nil || d.isEarly(now) {
		return
	}
	signs, err := d.look(p, r.sizes, now)
	if err != nil {
		return
	}
	d.last.stalled = d.shown.observe(signs)
	r.sample.Store(d.last)
	if d.ending.window > 0 && d.ending.observe(signs) {
		r.End(outcome.Stalled)
	}
}

// look reads the run's signs of life; all of them where that could show it to be stalled.
func (d *stallDetector) look(p usageReader, sizes func() (spool, stderr int64, err error), now time.Time) (activity, error) {
	cpu, err := p.CPUTime()
	if err != nil {
		return activity{}, err
	}
	quick := activity{at: now, cpu: &cpu}
	doubt := d.shown.isSuspect(quick) || d.ending.isSuspect(quick)
	if err := d.read(p, sizes, cpu, now, doubt); err != nil {
		return activity{}, err
	}
	signs := newActivity(now, d.last.output, d.last.usage)
	if doubt {
		signs.full, signs.waited = true, p.CPUWait()
	}
	if signs.io == nil {
		if doubt {
			d.io.ask(now, p.StorageIO)
		}
		signs.io = d.io.bytes
	}
	return signs, nil
}

// activity is one look at a run's signs of life. Nil is unknown.
type activity struct {
	at     time.Time
	output int64
	cpu    *uint64 // microseconds
	io     *uint64 // bytes
	waited *uint64 // microseconds for a processor, as PSI counts it; asked for in doubt only
	full   bool    // all of it was asked for; else output and io are those of an earlier look
}

func newActivity(at time.Time, output int64, u cgroup.Usage) activity {
	return activity{at: at, output: output, cpu: u.CPUUsec, io: u.IOBytes}
}

// idleShare is the share of one core below which a process counts as idle: the
// timers and garbage collector of a waiting runtime use that much.
const idleShare = 0.01

// idleWindow tells whether a run showed no sign of life for a whole window. It
// keeps at most about windowSlots looks.
type idleWindow struct {
	window time.Duration
	seen   []activity // oldest first; the first is the last one outside the window
	still  bool       // the last answer
}

const windowSlots = 64

// observe takes a new look, at or after the former one, and gives the answer.
func (w *idleWindow) observe(v activity) bool {
	n := len(w.seen)
	if n > 0 && (v.output != w.seen[n-1].output || moved(w.seen[n-1].io, v.io)) {
		w.seen = w.seen[:0]
	}
	for len(w.seen) > 1 && v.at.Sub(w.seen[1].at) >= w.window {
		w.seen = w.seen[1:]
	}
	w.still = len(w.seen) > 0 && v.at.Sub(w.seen[0].at) >= w.window && idle(w.seen[0], v) && !w.starved(v)
	if n = len(w.seen); n == 0 || v.at.Sub(w.seen[n-1].at) >= w.window/windowSlots || v.full && !w.sawAll() {
		w.seen = append(w.seen, v)
	}
	return w.still
}

// sawAll tells whether any look that it keeps was a full one.
func (w *idleWindow) sawAll() bool {
	return slices.ContainsFunc(w.seen, func(v activity) bool { return v.full })
}

// moved is false where either is unknown.
func moved(before, after *uint64) bool {
	return before != nil && after != nil && *before != *after
}

// idle needs to know: unknown CPU time is no proof of idleness.
func idle(from, to activity) bool {
	if from.cpu == nil || to.cpu == nil || *to.cpu < *from.cpu {
		return false
	}
	used := time.Duration(*to.cpu-*from.cpu) * time.Microsecond
	return float64(used) < idleShare*float64(to.at.Sub(from.at))
}

// starved tells a run that wants to compute and is not let: on a crowded host it had
// to wait for a processor half of the time since that was first asked, or more.
// An idle runtime's timers wait now and then, too, but not for so long.
func (w *idleWindow) starved(v activity) bool {
	for _, from := range w.seen {
		if from.waited != nil && v.waited != nil && *v.waited >= *from.waited {
			return time.Duration(*v.waited-*from.waited)*time.Microsecond >= v.at.Sub(from.at)/2 && v.at.After(from.at)
		}
	}
	return false
}

// isSuspect says that only I/O, output of others or a wait for a processor can still be a
// sign of life. They are asked for twice: at half of the window, so that there is
// something to compare with, and before the run is said to be still.
func (w *idleWindow) isSuspect(v activity) bool {
	if w.window <= 0 || w.still || len(w.seen) == 0 || !idle(w.seen[0], v) {
		return false
	}
	age := v.at.Sub(w.seen[0].at)
	return age >= w.window || age >= w.window/2 && !w.sawAll()
}

// storageEvery is how often the processes of a still run are asked one by one
// what they have read and written.
const storageEvery = 4 * time.Second

// storageIO is a run's I/O where its group doesn't count it: without the io
// controller a program that waits for a slow disk would look dead.
type storageIO struct {
	asked time.Time
	bytes *uint64
}

// ask leaves bytes nil where it is unknown.
func (s *storageIO) ask(now time.Time, read func() (uint64, error)) {
	if s.asked.IsZero() || now.Sub(s.asked) >= storageEvery {
		s.asked, s.bytes = now, nil
		if n, err := read(); err == nil {
			s.bytes = &n
		}
	}
}
