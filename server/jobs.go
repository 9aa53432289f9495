package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/web"
	"penstock/spawn"
)

// job is one request for an answer on its way to its run. Any number of requests may
// wait on it and then read the run.
type job struct {
	id, client, model, backend string
	durable                    bool // named by the caller: leaving only detaches
	fingerprint                dialect.Fingerprint
	created                    time.Time
	echo                       json.RawMessage       // see dialect.Request
	limits                     *specs.LinuxResources // what its run will have
	enforced                   spawn.Enforced        // and what holds them
	session                    string
	discard                    bool                                           // nothing but the record is kept of its answer
	lock                       *run.SessionLock                               // of a session that was claimed for it; nil is none
	remember                   func(*run.Run)                                 // keeps what was said for the next turn; nil is nothing
	lease                      *web.BodyLease                                 // what its request holds of the daemon's memory until it has begun
	decoded                    func()                                         // gives back the right to decode; may be called more than once
	reader                     func(context.Context) (done func(), err error) // as conversation.Asker.Turn
	cancel                     context.CancelCauseFunc
	release                    func() bool   // forgets that the daemon's end cancels it; nil until it is launched
	pending                    bool          // a later daemon starts it where this one doesn't
	standing                   atomic.Int32  // see promise
	lined                      chan struct{} // closed when it waits in a line, or needs not; nil of one that is not answered early
	inLine                     func()        // closes lined; may be called more than once

	once            sync.Once // of remember
	mu              sync.Mutex
	position        int           // in the client's queue, from 1; 0 not queued
	positionChanged chan struct{} // closed when place changes

	started chan struct{} // closed when waited, and run or err, are set
	waited  time.Duration // from arrival to its slot, or to its refusal
	run     *run.Run
	err     error
	gone    chan struct{} // closed when its run is over, or was not started
}

func newJob(id, client string, durable bool) *job {
	return &job{
		id: id, client: client, durable: durable, created: time.Now(), decoded: func() {},
		positionChanged: make(chan struct{}), started: make(chan struct{}), gone: make(chan struct{}),
	}
}

// answerEarly is for a job whose request is answered before its run has begun.
func (j *job) answerEarly() {
	lined := make(chan struct{})
	j.lined, j.inLine = lined, sync.OnceFunc(func() { close(lined) })
}

// A job is promised to its client, or refused to it.
const (
	promised int32 = iota + 1
	refused
)

// promise is for a request that is to be answered before its run has begun: it waits until the
// request has its place in a line. From then on the client has a right to an end; an error is
// that it was refused before.
func (j *job) promise(ctx context.Context) error {
	select {
	case <-j.lined:
	case <-j.started:
	case <-ctx.Done():
		return web.ClientGone(ctx.Err())
	}
	if j.standing.CompareAndSwap(0, promised) || j.standing.Load() == promised {
		return nil
	}
	<-j.started // at once
	return notStarted(j.id, j.err)
}

// isPromised is for a job whose run is not started: if it isn't yet, it can't be any more.
func (j *job) isPromised() bool { return !j.standing.CompareAndSwap(0, refused) }

// answer is what is said of the job's run to a reader that has seen its frames up to after.
func (j *job) answer(after int64) *dialect.Answer {
	return &dialect.Answer{Run: j.id, Model: j.model, Backend: j.backend, Received: j.created, After: after, Echo: j.echo}
}

// queuePosition is the place in the queue and what to wait on for a change.
func (j *job) queuePosition() (int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.position, j.positionChanged
}

func (j *job) setPosition(place int) {
	if j.inLine != nil {
		j.inLine()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if place != j.position {
		j.position = place
		close(j.positionChanged)
		j.positionChanged = make(chan struct{})
	}
}

func (j *job) begin(r *run.Run, err error) {
	j.run, j.err = r, err
	close(j.started)
}

// answered is called before a client is told how the run's answer ends.
func (j *job) answered(r *run.Run) {
	if j.remember != nil {
		j.once.Do(func() { j.remember(r) })
	}
}

// tell is answered for a reader that has not asked for the run's answer itself.
func (s *jobs) tell(r *run.Run) {
	if j, ok := s.get(r.ID()); ok && j.begun() {
		j.answered(r)
	}
}

func (j *job) begun() bool { return isClosed(j.started) }

// waits tells that there is no run of it yet, and nothing that keeps it from one: it is queued, or
// left to another daemon.
func (j *job) waits() bool { return !j.begun() || j.isLeft() }

// isLeft is for a job that has begun, if it has.
func (j *job) isLeft() bool { return errors.Is(j.err, errLeft) }
func (j *job) over() bool   { return isClosed(j.gone) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// logAttrs returns the access-log attributes of the job's run; own tells that the
// request has launched it. An answer's text, a prompt, or what a CLI wrote is never
// among them.
func (j *job) logAttrs(own bool) []slog.Attr {
	attrs := []slog.Attr{slog.String(web.LogBackend, j.backend), slog.String(web.LogModel, j.model)}
	if !j.begun() {
		return attrs
	}
	if own {
		attrs = append(attrs, slog.Float64(web.LogQueueSeconds, web.Seconds(j.waited)))
	}
	if j.err != nil {
		return attrs
	}
	return append(attrs, runAttrs(j.run.Record())...)
}

// runAttrs is how a run went, once it has ended.
func runAttrs(r run.Record) []slog.Attr {
	var attrs []slog.Attr
	if lived, ok := r.Lifetime(); ok {
		attrs = append(attrs, slog.Float64(web.LogRunSeconds, web.Seconds(lived)))
	}
	if r.Exit != nil {
		attrs = append(attrs, slog.Int(web.LogExitCode, *r.Exit))
	}
	if r.Signal != "" {
		attrs = append(attrs, slog.String(web.LogSignal, r.Signal))
	}
	if r.Receipt != nil {
		attrs = append(attrs, slog.Any(web.LogReceipt, *r.Receipt))
	}
	return attrs
}

// untilQuiet is what to wait for before the job's run can be left alone; nil is
// nothing.
func (j *job) untilQuiet() <-chan struct{} {
	switch {
	case j.over():
		return nil
	case !j.begun():
		return j.started
	case j.durable && j.err == nil && j.run.Record().State != run.Ending:
		return nil
	}
	return j.gone
}

// jobs are all requests that have or want a run, by run id, until that has ended. The
// same request as that of a durable run that is kept attaches to it again.
type jobs struct {
	mu     sync.Mutex
	closed bool
	byID   map[string]*job
	live   sync.WaitGroup // jobs that have not ended
}

func newJobs() *jobs { return &jobs{byID: map[string]*job{}} }

// runIndex is what there is of runs: those with a record, which a restart
// may have left, and those that have none any more.
type runIndex interface {
	known(id string) bool          // from memory
	ended(id string) (*job, error) // of a durable run that has ended and is kept; nil is none
	pruned(j *job) bool            // a run of the same id and request
}

// claim registers j, or finds the job that has its id already.
func (s *jobs) claim(j *job, runs runIndex) (*job, error) {
	return s.attach(j, runs, func() (*job, error) {
		if s.closed {
			return nil, shuttingDown()
		}
		if j.durable && runs.known(j.id) {
			return nil, conflict(j.id)
		}
		s.byID[j.id] = j
		s.live.Add(1)
		return j, nil
	})
}

// restore registers the job of a run that an earlier daemon has started.
func (s *jobs) restore(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[j.id] = j
	s.live.Add(1)
}

// find is claim without registering: nil when the id is free.
func (s *jobs) find(j *job, runs runIndex) (*job, error) {
	return s.attach(j, runs, func() (*job, error) { return nil, nil })
}

// attach is for a job whose id is that of another: a run that is not kept any more
// can't be read, and is not started anew either. free is called with the lock held
// where there is none.
func (s *jobs) attach(j *job, runs runIndex, free func() (*job, error)) (*job, error) {
	old, err := s.orElse(j.id, func() (*job, error) {
		if j.durable && runs.known(j.id) {
			return nil, errEnded
		}
		if runs.pruned(j) {
			return nil, replayGone(j.id)
		}
		return free()
	})
	if errors.Is(err, errEnded) { // what is kept of it is read from the disk, without the lock
		old, err = runs.ended(j.id)
		if err == nil && old == nil {
			err = conflict(j.id)
		}
	}
	if err != nil || old == nil || old == j {
		return old, err
	}
	if old.client != j.client || old.fingerprint != j.fingerprint {
		return nil, conflict(j.id)
	}
	return old, nil
}

// errEnded is of a run that has ended and is kept.
var errEnded = errors.New("the run has ended")

// orElse gives the job of an id, or what free makes with the lock held.
func (s *jobs) orElse(id string, free func() (*job, error)) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.byID[id]; ok {
		return old, nil
	}
	return free()
}

// ended is called once for each job; what is known of its run from then on is
// what is kept of it.
func (s *jobs) ended(j *job) {
	s.mu.Lock()
	delete(s.byID, j.id)
	s.mu.Unlock()
	s.live.Done()
}

// left is ended for a job whose request waits on, for another daemon: until this one is gone it is
// known as one that waits.
func (s *jobs) left() { s.live.Done() }

// get finds a job by its run id.
func (s *jobs) get(id string) (*job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.byID[id]
	return j, ok
}

func (s *jobs) all() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.byID))
}

// queued are the jobs that wait for their run.
func (s *jobs) queued() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*job
	for _, j := range s.byID {
		if j.waits() {
			out = append(out, j)
		}
	}
	return out
}

// close makes claim refuse new jobs. Only after it may live be waited for.
func (s *jobs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
