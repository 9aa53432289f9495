package run

import (
	"errors"
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
	record.State, record.Durable = Running, true
	record.Adopted++
	r := newRun(record, m.log)
	r.stall, r.fingerprint = l.Stall, l.Fingerprint
	w := &watcher{run: r, manager: m, spec: l.spec(record, b), will: l, release: func() {}, gone: func() {}, adopted: true}
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
		r.limit(record.Limits)
	}
	// One that has ended by now has had its directory tidied meanwhile.
	if err := d.save(record); err != nil && !isClosed(w.process.Exited()) {
		m.log.Warn("adoption not recorded", "run", r.id, "err", err)
	}
	gone := m.o.Adopted(record)
	w.gone, w.spawned = sync.OnceFunc(func() { gone(r.Record()) }), started
	m.log.Info("run adopted", "run", r.id, "client", record.Client, "backend", record.Backend, "age", time.Since(started).Round(time.Second).String())
	r.born(w.process)
	close(r.ready)
	go w.watch()
	return r, nil
}

// withMemory is what a run's record says of its limits, with the memory cap that
// is really held: the record is a file that the run itself may have written, and
// its reservation is made of it.
func withMemory(l *specs.LinuxResources, most int64) *specs.LinuxResources {
	var all specs.LinuxResources
	if l != nil {
		all = *l
	}
	var memory specs.LinuxMemory
	if all.Memory != nil {
		memory = *all.Memory
	}
	memory.Limit = &most
	all.Memory = &memory
	return &all
}

func (r *Run) limit(l *specs.LinuxResources) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.Limits = l
}
