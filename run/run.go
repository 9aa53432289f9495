package run

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
	"penstock/spool"
)

// Run is one run, waiting, live or finished. Its methods are safe for
// concurrent use.
type Run struct {
	id  string
	log *slog.Logger

	// They close in this order, each at most once, and only by the methods of state.go.
	stop     chan struct{} // by End, before the run has finished
	answered chan struct{} // the verdict is certain: by answer, else by announce
	detached chan struct{} // in the phase of that name; ended stays open then
	ended    chan struct{} // in the phase finished, when the record is on disk: see announce
	done     chan struct{} // after ended or detached: nothing of it is left to wait for

	spool *spool.Spool
	dir   *store.Dir   // nil: never got one
	save  func() error // of the final record, which is not on disk yet; nil is that it is. Manager.mu's
	// diskFull is why the disk took no more at some time of the run's life.
	diskFull atomic.Pointer[string]
	stall    time.Duration
	// fingerprint is Spec.Fingerprint of a durable run.
	fingerprint []byte
	seq         uint64 // of its place among all runs: by when it was registered
	sample      atomic.Pointer[runSample]

	mu      sync.Mutex
	phase   phase
	record  Record
	why     outcome.Cause
	cut     bool // Kill was called after End
	process *spawn.Process
	verdict outcome.Verdict
	outputs *spool.Outputs // nil: of an earlier daemon
	chain   Chain          // of its session once it has ended, see SetChain
	settle  bool           // its CLI exits by itself after its last word
	onOver  func()         // see OnOver; nil is nothing
}

// newRun is a run that has come to a phase.
func newRun(p phase, r Record, log *slog.Logger) *Run {
	ended := make(chan struct{})
	run := &Run{
		id: r.ID, phase: p, record: r, log: log.With("run", r.ID), spool: spool.New(r.ID, ended),
		stop: make(chan struct{}), answered: make(chan struct{}), ended: ended, detached: make(chan struct{}), done: make(chan struct{}),
	}
	if r.Answered != nil { // by an earlier daemon
		run.verdict = outcome.Verdict{Cause: r.Cause, Message: r.Message}
		close(run.answered)
	}
	return run
}

// newFinishedRun is a finished run, made of what is kept of it.
func newFinishedRun(d *store.Dir, r Record, log *slog.Logger) *Run {
	p := newRun(finished, r, log)
	p.dir = d
	p.verdict = outcome.Verdict{Cause: r.Cause, Message: r.Message}
	close(p.stop)
	p.announce()
	p.letGo()
	return p
}

// ID is the run's name.
func (r *Run) ID() string { return r.id }

// Fingerprint is that of a durable run's Spec, also after a restart; nil for any other.
func (r *Run) Fingerprint() []byte { return r.fingerprint }

// Record is the run as it is now.
func (r *Run) Record() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record
}

// Answered is closed when the verdict is certain, which is no later than Ended: of a CLI
// that has said its last word and lives on, to save its session, or has not been seen to be
// gone yet. The record has verdict and receipt as of then.
func (r *Run) Answered() <-chan struct{} { return r.answered }

// Ended is closed when the verdict and the record are final: the tree is gone,
// or was given up and reported, or was never started.
func (r *Run) Ended() <-chan struct{} { return r.ended }

// Detached is closed when the run lives on without this daemon (Manager.Detach).
// Ended then stays open.
func (r *Run) Detached() <-chan struct{} { return r.detached }

// Verdict is valid after Answered, and stays what it is.
func (r *Run) Verdict() outcome.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verdict
}

// noteDiskFull notes that the disk takes no more.
func (r *Run) noteDiskFull(why string) { r.diskFull.CompareAndSwap(nil, &why) }

// setOutputs notes the files of a process to come.
func (r *Run) setOutputs(o *spool.Outputs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outputs = o
}

// Follow reads the run's events with Seq > after, see spool.Reader.
func (r *Run) Follow(after uint64) *spool.Reader { return r.spool.Follow(after) }

// sizes are those of its outputs as they are now.
func (r *Run) sizes() (spool, stderr int64, err error) {
	r.mu.Lock()
	o := r.outputs
	r.mu.Unlock()
	return o.Sizes()
}

// isLive tells whether it has a process tree.
func (r *Run) isLive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record.State == Running || r.record.State == Ending
}

func (r *Run) setOutputBytes(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.OutputBytes = n
}

func (r *Run) setCLISession(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.CLISession = id
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
