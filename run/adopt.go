package run

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/backend"
	"penstock/spawn"
)

// adopt goes on with a live run of an earlier daemon: its output is read again
// from the first byte, which brings the watcher's machine to where the other
// daemon's was. The error wraps fs.ErrNotExist when the run's group is gone.
func (m *Manager) adopt(d *directory, record Record, l *will, b backend.Backend) (_ *Run, err error) {
	if err := d.loadWords(l); err != nil {
		return nil, fmt.Errorf("what its CLI may still have to be told: %v", err)
	}
	d.flush = (*os.File).Sync
	record.State, record.Durable = Running, true
	record.Adopted++
	r := newRun(record, m.log)
	r.stall, r.fingerprint = l.Stall, l.Fingerprint
	w := &watcher{run: r, manager: m, spec: l.spec(record, b), will: l, release: func() {}, gone: func() {}, adopted: true}
	if m.renew(d, &w.spec, l) {
		w.fresh = w.spec.Fresh
	}
	defer func() {
		if err != nil {
			w.letGo()
			w.release()
		}
	}()
	if err := w.open(d); err != nil {
		return nil, err
	}
	if s := l.Session; s.Session != "" {
		release, ok := m.turns.try(sessionKey(s.Client, s.Session))
		if !ok {
			return nil, errors.New("its session has another run")
		}
		w.release = release
	}
	started := record.startedAt()
	w.process, err = m.spawner.Adopt(spawn.Command{
		ID: r.id, Limits: record.Limits, SoftEnd: l.SoftEnd, Grace: l.Grace, BeforeRemove: w.tidy,
	}, l.Leader, started)
	if err != nil {
		return nil, err
	}
	if most, ok := w.process.MemoryMax(); ok {
		record.Limits = withMemory(record.Limits, most)
	}
	if most, ok := w.process.PidsMax(); ok {
		record.Limits = withPids(record.Limits, most)
	}
	r.limit(record.Limits)
	w.spec.Limits = record.Limits
	// One that has ended by now has had its directory tidied meanwhile.
	if err := d.save(record); err != nil && !isClosed(w.process.Exited()) {
		m.log.Warn("adoption not recorded", "run", r.id, "err", err)
	}
	if _, known := m.sessions.get(sessionKey(record.Client, record.Session)); !known {
		w.remember("") // the other daemon didn't come to it
	}
	gone := m.o.Adopted(record)
	w.gone, w.spawned = sync.OnceFunc(func() { gone(r.Record()) }), started
	m.log.Info("run adopted", "run", r.id, "client", record.Client, "backend", record.Backend, "age", time.Since(started).Round(time.Second).String())
	r.born(w.process)
	if !w.outputs.are(l.Spool, l.Stderr) {
		w.fail(replacedHint)
		r.finish(false)
	}
	if w.fresh == nil {
		w.show()
	}
	go w.watch()
	return r, nil
}

// mute stands in for the backend of a run of which not even the kind is known
// any more: the run is seen to its end, and its output is not understood.
type mute struct{ name string }

func isMute(b backend.Backend) bool { _, ok := b.(mute); return ok }

func (m mute) Name() string                                   { return m.name }
func (mute) Kind() string                                     { return "" }
func (mute) Framing() backend.Framing                         { return backend.Words } // no line is too long
func (mute) Features() backend.Features                       { return backend.Features{} }
func (mute) Machine(backend.Request) backend.Machine          { return mute{} }
func (mute) Open() [][]byte                                   { return nil }
func (mute) Line([]byte) (events []backend.Event, w [][]byte) { return nil, nil }
func (mute) Close() []backend.Event                           { return nil }
func (m mute) Command(backend.Request) (backend.Command, error) {
	return backend.Command{}, fmt.Errorf("backend %s: not configured", m.name)
}

// withMemory is what a run's record says of its limits, with another memory cap:
// its reservation is made of that.
func withMemory(l *specs.LinuxResources, most int64) *specs.LinuxResources {
	all := copyOf(l)
	var memory specs.LinuxMemory
	if all.Memory != nil {
		memory = *all.Memory
	}
	memory.Limit = &most
	all.Memory = &memory
	return &all
}

func withPids(l *specs.LinuxResources, most int64) *specs.LinuxResources {
	all := copyOf(l)
	all.Pids = &specs.LinuxPids{Limit: &most}
	return &all
}

func copyOf(l *specs.LinuxResources) specs.LinuxResources {
	if l == nil {
		return specs.LinuxResources{}
	}
	return *l
}

// memoryOf is a run's memory cap in bytes; 0 is none.
func memoryOf(l *specs.LinuxResources) int64 {
	if l == nil || l.Memory == nil || l.Memory.Limit == nil {
		return 0
	}
	return *l.Memory.Limit
}

// pidsOf is how many processes a run may have; 0 is no cap.
func pidsOf(l *specs.LinuxResources) int64 {
	if l == nil || l.Pids == nil || l.Pids.Limit == nil {
		return 0
	}
	return *l.Pids.Limit
}

func (r *Run) limit(l *specs.LinuxResources) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.Limits = l
}
