package run

import (
	"time"

	"penstock/cgroup"
)

// runSample is what the dispatcher last saw of a live run.
type runSample struct {
	at      time.Time // of usage, but its processor time
	usage   cgroup.Usage
	output  int64     // bytes of spool and stderr, as of at
	cpuAt   time.Time // of usage.CPUUsec
	cores   *float64
	stalled bool
}

// usageReader is what is asked of a live run's process tree.
type usageReader interface {
	CPUTime() (uint64, error)
	Usage() (cgroup.Usage, error)
	StorageIO() (uint64, error)
	CPUWait() *uint64
}

// A run that uses no processor time changes little: others may take its memory, or
// write back its files. So each look asks for its processor time, one read, and for
// the rest where that has moved, or what is known is old.
const (
	// restEvery is how often one is looked at that has used none since the last look. It
	// is told by every second tick of the dispatcher.
	restEvery = 2*sampleEvery - sampleEvery/2
	// quietAge is how old the figures get of one that uses less than idleShare, restAge
	// of one that uses nothing.
	quietAge = 10 * time.Second
	restAge  = 2 * time.Minute
)

// sampler reads what one live run uses.
type sampler struct {
	last    *runSample // nil: none yet
	cpuThen uint64     // processor time as of last.at
}

// isEarly tells that nothing new is to be expected.
func (s *sampler) isEarly(now time.Time) bool {
	return s.last != nil && s.last.cores != nil && *s.last.cores == 0 && now.Sub(s.last.cpuAt) < restEvery
}

// read takes a new sample of a run whose processor time is cpu.
func (s *sampler) read(p usageReader, sizes func() (spool, stderr int64, err error), cpu uint64, now time.Time, all bool) error {
	next := &runSample{}
	if all || s.isOld(cpu, now) {
		usage, err := p.Usage()
		if err != nil {
			return err
		}
		spool, stderr, err := sizes()
		if err != nil {
			return err
		}
		next.at, next.usage, next.output = now, usage, spool+stderr
		s.cpuThen = cpu
	} else {
		*next = *s.last
	}
	next.usage.CPUUsec, next.cpuAt = &cpu, now
	next.cores = next.busyCores(s.last)
	s.last = next
	return nil
}

func (s *sampler) isOld(cpu uint64, now time.Time) bool {
	if s.last == nil {
		return true
	}
	age := now.Sub(s.last.at)
	switch used := time.Duration(cpu-s.cpuThen) * time.Microsecond; {
	case used == 0:
		return age >= restAge
	case float64(used) < idleShare*float64(age):
		return age >= quietAge
	}
	return true
}

// busyCores is how many processors were busy between two looks; nil where the
// kernel doesn't count, or at the first look.
func (w *runSample) busyCores(last *runSample) *float64 {
	if last == nil || last.usage.CPUUsec == nil || w.usage.CPUUsec == nil || *w.usage.CPUUsec < *last.usage.CPUUsec {
		return nil
	}
	took := w.cpuAt.Sub(last.cpuAt)
	if took <= 0 {
		return nil
	}
	cores := float64(*w.usage.CPUUsec-*last.usage.CPUUsec) / float64(took.Microseconds())
	return &cores
}
