package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/spawn"
	"penstock/spool"
)

const (
	defaultKeep         = time.Hour
	defaultKeepRuns     = 1000
	defaultKeepBytes    = 4 << 30
	defaultKeepSessions = 30 * 24 * time.Hour
	defaultStallAfter   = 30 * time.Second
)

// Manager holds all runs of one state directory. Safe for concurrent use.
type Manager struct {
	o            Options
	log          *slog.Logger
	observer     Observer
	spawner      *spawn.Spawner
	state        *store.StateDir
	sessions     *sessions.Registry
	pruned       *store.Pruned
	interrupted  []*supervisor // of runs that Open has still to start anew
	sessionLocks sessions.Locks
	notifier     *spool.Notifier // nil: no inotify instance to be had
	buffers      spool.Buffers
	enforced     cgroup.Enforced

	snapshot atomic.Pointer[builtSnapshot]
	changes  atomic.Uint64 // of what a snapshot is made of, so far
	sampled  atomic.Pointer[treeSample]
	complete atomic.Bool   // the index has all runs that are kept
	full     chan struct{} // more finished runs than are kept; has room for one
	due      chan struct{} // the output of a run is to be discarded; has room for one
	room     atomic.Pointer[Room]
	asking   atomic.Bool // how much room there is
	broken   atomic.Bool // a start could make no file, and none could be made since
	// reclaiming is held while runs are removed before their time.
	reclaiming sync.Mutex
	looking    sync.Mutex   // for room
	pruning    sync.Mutex   // from choosing what is to be removed to its being out of sight
	saving     sync.Mutex   // held while final records are saved late, or runs without one removed
	reclaims   atomic.Int64 // how often that has made room
	quit       chan struct{}
	chores     sync.WaitGroup

	publishing sync.Mutex // from reading what a snapshot is made of to its being shown

	mu       sync.Mutex
	ending   chan struct{} // closed with it
	closing  bool
	live     map[string]*Run      // from when it waits until nothing is left of it but its files, or for good where it is detached
	stuck    map[string]time.Time // runs that can't be removed, and when that is tried again
	discards map[string]time.Time // runs whose output is to go, and when; zero is that they live
	last     uint64               // Run.seq
	lastGone time.Time            // when a group was last removed
}

// Open takes the state directory for this daemon alone and settles what an
// earlier one has left there. The Spawner stays the caller's: it is to be
// closed after the Manager, or, when Open fails, to be abandoned: what an earlier
// daemon left lives on then. A Lock it was given is closed then, too.
func Open(ctx context.Context, o Options) (*Manager, error) {
	o = o.complete()
	st, err := o.stateDir()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		o: o, log: o.Logger, observer: o.Observer, spawner: o.Spawner, state: st,
		enforced: o.Spawner.Enforced(), full: make(chan struct{}, 1), due: make(chan struct{}, 1), quit: make(chan struct{}), ending: make(chan struct{}),
		live: map[string]*Run{}, stuck: map[string]time.Time{}, discards: map[string]time.Time{},
	}
	m.sessions, err = sessions.Open(st, max(o.KeepSessions, defaultKeepSessions), func(path string, err error) {
		m.log.Warn("session ignored", "file", path, "err", err)
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := st.SweepUnfinished(); err != nil {
		m.log.Warn("unfinished files not removed", "err", err)
	}
	if m.pruned, err = store.OpenPruned(st.Store.Of(store.PrunedName)); err != nil {
		m.log.Warn("a request that comes late may be run again", "err", err)
	}
	if m.notifier, err = spool.NewNotifier(); err != nil {
		m.log.Warn("no inotify: outputs are polled (hint: raise fs.inotify.max_user_instances)", "every", spool.PollEvery, "err", err)
	}
	m.sample(time.Now())
	if err := m.recover(ctx); err != nil {
		return nil, errors.Join(err, m.abandon(context.WithoutCancel(ctx)))
	}
	if err := m.sessions.Sweep(); err != nil {
		m.log.Warn("leftovers of sessions not removed", "err", err)
	}
	if err := st.SweepStatus(m.isLive); err != nil {
		m.log.Warn("leftovers of runs in images not removed", "err", err)
	}
	m.o.Spawner.EndUnclaimed()
	for _, sup := range m.interrupted {
		go sup.supervise()
	}
	m.interrupted = nil
	m.publish()
	m.chores.Go(m.dispatchLoop)
	if !m.complete.Load() {
		m.chores.Go(m.rebuild)
	}
	m.chores.Go(m.pruneLoop)
	m.chores.Go(m.roomLoop)
	return m, nil
}

func (o Options) complete() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Bounds == nil {
		o.Bounds = func(string, string) Bounds { return Bounds{Grace: math.MaxInt64, LineMax: defaultLineMax} }
	}
	if o.flush == nil {
		o.flush = (*os.File).Sync
	}
	if o.Backends == nil {
		o.Backends = func(string) (backend.Backend, bool) { return nil, false }
	}
	if o.Adopted == nil {
		o.Adopted = func(Record) func(Record) { return func(Record) {} }
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Keep <= 0 {
		o.Keep = defaultKeep
	}
	if o.KeepRuns <= 0 {
		o.KeepRuns = defaultKeepRuns
	}
	if o.Stop == nil {
		o.Stop = context.Background()
	}
	if o.stopping == nil {
		o.stopping = o.Spawner.Stopping
	}
	if o.roomAt == nil {
		o.roomAt = roomAt
	}
	if o.KeepBytes <= 0 {
		o.KeepBytes = defaultKeepBytes
	}
	if o.KeepSessions <= 0 {
		o.KeepSessions = defaultKeepSessions
	}
	if o.StallAfter <= 0 {
		o.StallAfter = defaultStallAfter
	}
	return o
}

type unobserved struct{}

func (unobserved) RunStarted(Record, time.Duration)    {}
func (unobserved) FirstOutput(Record, time.Duration)   {}
func (unobserved) RunFinished(Record, outcome.Outcome) {}

func (m *Manager) dirOf(id string) string { return filepath.Join(m.state.Runs(), id) }

// register makes the run known, before it waits for anything.
func (m *Manager) register(s Spec) (*Run, error) {
	r := newRun(waiting, Record{
		ID: s.ID, Object: store.Object, State: Waiting, Client: s.Client, Backend: s.Backend.Name(), Model: s.Model,
		Session: s.Session, Received: s.Received, Created: time.Now(), Limits: s.Limits, EnforcedBy: m.enforced, Metadata: s.Metadata,
		Durable: s.Durable,
	}, m.log)
	r.stall = s.Stall
	if s.Durable {
		r.fingerprint = s.Fingerprint
	}
	return r, m.registerRun(r)
}

// registerRun is for a run that is to be started, or that never will be.
func (m *Manager) registerRun(r *Run) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing && r.phase != finished {
		return &spawn.StartError{Cause: outcome.ShuttingDown, Err: fmt.Errorf("run %s: the daemon is shutting down", r.id)}
	}
	// Also of one that is being removed: the index forgets it last, and would forget the new one.
	if _, taken := m.live[r.id]; taken || m.state.History.Holds(r.id) {
		return fmt.Errorf("run %s: %w", r.id, ErrExists)
	}
	m.last++
	r.seq = m.last
	m.live[r.id] = r
	return nil
}

// unregister forgets a run that was never started: a retry of it is a new run.
func (m *Manager) unregister(r *Run, err error) {
	m.forget(r)
	r.abort(err)
}

func (m *Manager) forget(r *Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.live, r.id)
}

// Get finds a run that waits, lives, or is kept; what is kept is read from the disk, also
// while the index is made anew. The error wraps fs.ErrNotExist where there is none; any other
// is the host's, and says nothing of the run.
func (m *Manager) Get(id string) (*Run, error) {
	if r := m.liveRun(id); r != nil {
		return r, nil
	}
	return m.load(id)
}

// liveRun is nil for a run that is kept, or unknown.
func (m *Manager) liveRun(id string) *Run {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live[id]
}

func (m *Manager) isLive(id string) bool { return m.liveRun(id) != nil }

// Complete tells whether the index of the runs that have ended is: while it is made anew,
// List has not all of them.
func (m *Manager) Complete() bool { return m.complete.Load() }

func (m *Manager) started(r *Run, took time.Duration) {
	m.observer.RunStarted(r.Record(), took)
	m.changes.Add(1)
}

func (m *Manager) concluded(r Record, o outcome.Outcome) {
	m.observer.RunFinished(r, o)
	m.changes.Add(1)
}

// refuseStarts takes no more runs.
func (m *Manager) refuseStarts() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closing {
		m.closing = true
		close(m.ending)
	}
}

// removeWait is how long the removal of a group is waited for whose run has
// ended: with a process no signal reaches in it, that may never come.
const removeWait = 5 * time.Second

// End refuses further starts, ends every run that waits or lives, and waits
// until their groups are gone: under ctx, and not long once all have ended. The
// end of cut cuts their grace short. The error names those that weren't.
func (m *Manager) End(ctx, cut context.Context, why outcome.Cause) error {
	m.refuseStarts()
	runs := m.Live()
	for _, r := range runs {
		r.End(why)
	}
	defer context.AfterFunc(cut, m.Kill)()
	return awaitDone(ctx, runs)
}

// Kill cuts short the grace of every run whose end has begun.
func (m *Manager) Kill() {
	for _, r := range m.Live() {
		r.Kill()
	}
}

// awaitDone waits under ctx until all have ended or were left, and then not long
// for what is still there of them.
func awaitDone(ctx context.Context, runs []*Run) error {
	for _, r := range runs {
		select {
		case <-r.ended:
		case <-r.detached:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	var errs []error
	for _, r := range runs {
		select {
		case <-r.done:
			continue
		default:
		}
		select {
		case <-r.done:
		case <-last.Done():
			errs = append(errs, fmt.Errorf("end run %s: its group is still there: %w", r.id, last.Err()))
		}
	}
	return errors.Join(errs...)
}

// Close ends what End has not, stops the manager's own work and gives the
// state directory free. Call it once.
func (m *Manager) Close(ctx context.Context) error {
	return errors.Join(m.End(ctx, ctx, outcome.ShuttingDown), m.stop(), m.state.Close())
}

// stop stops the manager's own work.
func (m *Manager) stop() error {
	close(m.quit)
	m.chores.Wait()
	m.retrySaves()
	m.discardDue(time.Now())
	if m.notifier == nil {
		return nil
	}
	return m.notifier.Close()
}

// Live are those that wait or live, or are just ending: their record may say already
// that they have.
func (m *Manager) Live() []*Run {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.live))
}

// stateDir is the lock given, or one taken now.
func (o Options) stateDir() (*store.StateDir, error) {
	if o.Lock == nil {
		return store.Open(o.StateDir)
	}
	if o.Lock.State.Path != o.StateDir {
		err := fmt.Errorf("state directory: %s: the lock held is of %s", o.StateDir, o.Lock.State.Path)
		return nil, errors.Join(err, o.Lock.Close())
	}
	return o.Lock.State, nil
}
