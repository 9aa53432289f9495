package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/spawn"
)

// adopt goes on with a live run of an earlier daemon: its output is read again
// from the first byte, which brings the supervisor's machine to where the other
// daemon's was. The error wraps fs.ErrNotExist when the run's group is gone.
func (m *Manager) adopt(d *store.Dir, record Record, cp *store.Checkpoint, b backend.Backend) (_ *Run, err error) {
	if err := d.LoadTexts(cp); err != nil {
		return nil, fmt.Errorf("what its CLI may still have to be told: %v", err)
	}
	d.Flush = (*os.File).Sync
	record.State, record.Durable = Running, true
	record.Adopted++
	r := newRun(starting, record, m.log)
	r.stall, r.fingerprint = cp.Stall, cp.Fingerprint
	sup := &supervisor{
		run: r, manager: m, spec: specOf(cp, record, b), checkpoint: cp,
		child: child{adopted: true}, hooks: hooks{unlockSession: func() {}, onGone: func() {}},
	}
	if m.renew(d, &sup.spec, cp) {
		sup.turn.fresh = sup.spec.Fresh
	}
	defer func() {
		if err != nil {
			sup.files.release()
			sup.releaseImage()
			sup.hooks.unlockSession()
		}
	}()
	sup.adoptImage(context.Background(), record)
	inImage := m.statusOf(record)
	if inImage != nil {
		defer inImage.Status.Close() // it is found by its name
	}
	if err := sup.open(d); err != nil {
		return nil, err
	}
	sup.forgetTexts()
	if session := cp.Session; session.Session != "" {
		release, ok := m.sessionLocks.TryAcquire(sessions.Key(session.Client, session.Session))
		if !ok {
			return nil, errors.New("its session has another run")
		}
		sup.hooks.unlockSession = release
	}
	started := record.StartedAt()
	sup.child.process, err = m.spawner.Adopt(spawn.Command{
		ID: r.id, Limits: record.Limits, SoftEnd: cp.SoftEnd, Grace: cp.Grace, BeforeRemove: sup.cleanUp, Image: inImage,
	}, cp.Leader, started)
	if err != nil {
		return nil, err
	}
	if most, ok := sup.child.process.MemoryMax(); ok {
		record.Limits = store.WithMemory(record.Limits, most)
	}
	if most, ok := sup.child.process.PidsMax(); ok {
		record.Limits = store.WithPids(record.Limits, most)
	}
	r.setLimits(record.Limits)
	sup.spec.Limits = record.Limits
	// One that has ended by now has had its directory tidied meanwhile.
	if err := d.Save(record); err != nil && !isClosed(sup.child.process.Exited()) {
		m.log.Warn("adoption not recorded", "run", r.id, "err", err)
	}
	if _, known := m.sessions.Get(sessions.Key(record.Client, record.Session)); !known && record.Session != "" {
		sup.putSession() // a daemon of an earlier version didn't come to it
	}
	gone := m.o.Adopted(record)
	sup.hooks.onGone, sup.child.started = sync.OnceFunc(func() { gone(r.Record()) }), started
	m.log.Info("run adopted", "run", r.id, "client", record.Client, "backend", record.Backend, "age", time.Since(started).Round(time.Second).String())
	r.started(sup.child.process)
	if !sup.files.outputs.Are(cp.Spool, cp.Stderr) {
		sup.failTampered(replacedHint)
		r.finish(false)
	}
	if sup.turn.fresh == nil {
		sup.run.spool.Publish()
	}
	go sup.supervise()
	return r, nil
}

// opaqueBackend stands in for the backend of a run of which not even the kind is known
// any more: the run is seen to its end, and its output is not understood.
type opaqueBackend struct{ name string }

func isOpaque(b backend.Backend) bool { _, ok := b.(opaqueBackend); return ok }

func (m opaqueBackend) Name() string                                   { return m.name }
func (opaqueBackend) Kind() string                                     { return "" }
func (opaqueBackend) Framing() backend.Framing                         { return backend.Words } // no line is too long
func (opaqueBackend) Features() backend.Features                       { return backend.Features{} }
func (opaqueBackend) Machine(backend.Request) backend.Machine          { return opaqueBackend{} }
func (opaqueBackend) Open() [][]byte                                   { return nil }
func (opaqueBackend) Line([]byte) (events []backend.Event, w [][]byte) { return nil, nil }
func (opaqueBackend) Close() []backend.Event                           { return nil }
func (m opaqueBackend) Command(backend.Request) (backend.Command, error) {
	return backend.Command{}, fmt.Errorf("backend %s: not configured", m.name)
}

func (r *Run) setLimits(l *specs.LinuxResources) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.Limits = l
}

// specOf is the part of a Spec that matters after the start.
func specOf(cp *store.Checkpoint, r Record, b backend.Backend) Spec {
	return Spec{
		ID: r.ID, Client: r.Client, Model: r.Model, Backend: b, Session: r.Session, Limits: r.Limits, Metadata: r.Metadata,
		Deadline: cp.Deadline, Grace: cp.Grace, Stall: cp.Stall, OutputMax: cp.OutputMax, LineMax: cp.LineMax,
		Durable: true, Fingerprint: cp.Fingerprint,
	}
}

// Detach refuses further starts, lets every durable run live on for the next
// daemon to adopt, sees to the end of those whose end has begun, under ctx, ends
// the others, and stops the manager's own work. The state directory stays
// locked by the file returned, which Inherit takes. Call it instead of Close.
func (m *Manager) Detach(ctx context.Context) (lock *os.File, left int, err error) {
	left, err = m.detachAll(ctx)
	return m.state.Lock, left, err
}

// abandon is for an Open that fails: what it has adopted lives on.
func (m *Manager) abandon(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, abandonMax)
	defer cancel()
	_, err := m.detachAll(bounded)
	return errors.Join(err, m.state.Close())
}

// abandonMax bounds how long an Open that fails waits for runs that are just ending.
const abandonMax = 10 * time.Second

func (m *Manager) detachAll(ctx context.Context) (left int, err error) {
	m.refuseStarts()
	runs := m.Live()
	for _, r := range runs {
		if r.detach() {
			left++
			continue
		}
		r.End(outcome.ShuttingDown)
	}
	return left, errors.Join(awaitDone(ctx, runs), m.stop())
}
