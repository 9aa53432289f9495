package run

import (
	"os"
	"slices"
	"time"

	"penstock/cgroup"
	"penstock/spawn"
)

// sampleEvery is how often the dispatcher looks at the live runs.
const sampleEvery = time.Second

// treeSample is the last reading of all groups together.
type treeSample struct {
	at    time.Time
	whole cgroup.TreeUsage
	files *uint64 // in memory file systems
	dying *uint64 // groups
}

// dispatchLoop looks at all live runs once a second. It is the only place that
// reads groups for the snapshot.
func (m *Manager) dispatchLoop() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	detectors := map[*Run]*stallDetector{}
	for {
		select {
		case <-m.quit:
			return
		case <-tick.C:
		}
		m.observeAll(detectors)
		m.sample(time.Now())
	}
}

func (m *Manager) observeAll(detectors map[*Run]*stallDetector) {
	live := map[*Run]bool{}
	disk := fileSystemOf(m.state.Path)
	full := disk.state(os.Geteuid() == 0)
	for _, r := range m.Live() {
		if !r.isLive() {
			continue
		}
		live[r] = true
		if full != "" {
			r.noteDiskFull(full)
		}
		if detectors[r] == nil {
			detectors[r] = &stallDetector{shown: idleWindow{window: m.o.StallAfter}, ending: idleWindow{window: r.stall}}
		}
		detectors[r].observe(r, time.Now())
	}
	for r := range detectors {
		if !live[r] {
			delete(detectors, r)
		}
	}
}

// liveProcess is nil once the run has ended.
func (r *Run) liveProcess() *spawn.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// sample reads the whole tree, for the snapshots to come.
func (m *Manager) sample(now time.Time) {
	whole, err := m.spawner.Usage()
	if err != nil {
		m.log.Debug("usage of all runs not read", "err", err)
	}
	files, err := m.spawner.FilesInMemory()
	if err != nil {
		m.log.Debug("files in memory not read", "err", err)
	}
	dying, err := m.spawner.DyingGroups()
	if err != nil {
		m.log.Debug("dying groups not read", "err", err)
	}
	m.sampled.Store(&treeSample{at: now, whole: whole, files: files, dying: dying})
	m.changes.Add(1)
}

// builtSnapshot is a snapshot and how many changes it has seen.
type builtSnapshot struct {
	Snapshot
	changes uint64
}

// publish builds the snapshot from memory. One builds at a time: a slower
// one would put what it saw before over what a faster one saw after it.
func (m *Manager) publish() {
	m.publishing.Lock()
	defer m.publishing.Unlock()
	seen, last := m.changes.Load(), m.sampled.Load()
	m.mu.Lock()
	lastGone := m.lastGone
	m.mu.Unlock()
	s := Snapshot{
		Heartbeat: last.at, Pressure: last.whole,
		Processes: last.whole.Processes, Memory: last.whole.MemoryBytes, FilesInMemory: last.files, DyingGroups: last.dying,
	}
	for _, r := range m.Live() {
		if !r.isLive() {
			continue
		}
		one := r.snapshotEntry()
		if one.Stalled {
			s.Stalled++
		}
		s.Runs = append(s.Runs, one)
	}
	if len(s.Runs) == 0 && m.spawner.Isolation().LeakedGroups == 0 {
		s.Processes = 0 // all groups are gone
		if !last.at.After(lastGone) {
			s.Memory, s.FilesInMemory = nil, nil // of before: what is left now the next look tells
		}
	}
	slices.SortFunc(s.Runs, func(a, b Live) int { return a.Started.Compare(b.Started) })
	m.snapshot.Store(&builtSnapshot{s, seen})
}

// snapshotEntry is the run as of the dispatcher's last look.
func (r *Run) snapshotEntry() Live {
	c := r.Record()
	one := Live{ID: c.ID, Backend: c.Backend, Client: c.Client, Started: c.StartedAt()}
	if w := r.sample.Load(); w != nil {
		one.Sampled, one.Stalled, one.Memory, one.Pids = w.at, w.stalled, w.usage.MemoryBytes, w.usage.Pids
		one.CPUUsec, one.IOBytes, one.CPUCores = w.usage.CPUUsec, w.usage.IOBytes, w.cores
		one.MemoryHighEvents, one.MemoryMaxEvents = w.usage.MemoryHighEvents, w.usage.MemoryMaxEvents
	}
	return one
}

// Snapshot is the state as of the last second, runs as of now: the caller builds what has
// changed since it was last asked for, so that a start and an end cost nothing. It reads
// no file, waits for nothing, and is not to be changed by the caller.
func (m *Manager) Snapshot() Snapshot {
	if m.snapshot.Load().changes != m.changes.Load() {
		m.publish()
	}
	return m.snapshot.Load().Snapshot
}

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
