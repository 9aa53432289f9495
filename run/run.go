package run

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/spawn"
)

// Run is one run, waiting, live or finished. Its methods are safe for
// concurrent use.
type Run struct {
	id  string
	log *slog.Logger

	grown    broadcast     // its outputs have grown
	stop     chan struct{} // End was called
	ready    chan struct{} // dir, replay and outputs are set, or there will be none
	ended    chan struct{}
	detached chan struct{} // for the next daemon to adopt; ended stays open
	done     chan struct{} // OnGone was called: nothing of it is left to wait for

	dir      *directory  // nil: never got one
	replay   *replay     // nil: its events can't be read
	outputs  *outputs    // nil: of an earlier daemon
	spool    os.FileInfo // as of the start; nil: of an earlier daemon
	silent   bool        // it has no events: its CLI did nothing
	tampered atomic.Bool // see ErrSpoiled
	unsaved  atomic.Bool // the final record is not on disk yet
	// diskFull is why the disk took no more at some time of the run's life.
	diskFull atomic.Pointer[string]
	stall    time.Duration
	// fingerprint is Spec.Fingerprint of a durable run.
	fingerprint []byte
	seq         uint64 // of its place among all runs: by when it was registered
	// endedAt is when it became one to be pruned, by a clock that is never set. To be
	// read once done is closed.
	endedAt time.Time
	// retryRemovalAt is when its removal is tried again; Manager.mu's.
	retryRemovalAt time.Time
	sample         atomic.Pointer[runSample]

	mu      sync.Mutex
	record  Record
	why     outcome.Cause
	cut     bool // Kill was called after End
	process *spawn.Process
	verdict outcome.Verdict
	final   int64 // bytes of the spool, once ended
}

func newRun(r Record, log *slog.Logger) *Run {
	return &Run{
		id: r.ID, record: r, log: log.With("run", r.ID),
		stop: make(chan struct{}), ready: make(chan struct{}),
		ended: make(chan struct{}), detached: make(chan struct{}), done: make(chan struct{}),
	}
}

// newFinishedRun is a finished run of an earlier daemon.
func newFinishedRun(d *directory, r Record, log *slog.Logger) *Run {
	p := newRun(r, log)
	p.dir = d
	p.endedAt = notAhead(time.Now(), r.finishedAt())
	p.verdict = outcome.Verdict{Cause: r.Cause, Message: r.Message}
	close(p.stop)
	close(p.ready)
	close(p.ended)
	close(p.done)
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

// Ended is closed when the verdict and the record are final: the tree is gone,
// or was given up and reported, or was never started.
func (r *Run) Ended() <-chan struct{} { return r.ended }

// Detached is closed when the run lives on without this daemon (Manager.Detach).
// Ended then stays open.
func (r *Run) Detached() <-chan struct{} { return r.detached }

// Verdict is valid after Ended.
func (r *Run) Verdict() outcome.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verdict
}

// End ends the run, whatever state it is in; one that still waits is never
// started. The first reason wins. It returns at once.
func (r *Run) End(why outcome.Cause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.record.State == Finished {
		return
	}
	if r.why == "" {
		r.why = why
		close(r.stop)
	}
	if r.process != nil {
		r.record.State = Ending
		r.process.End(why)
	}
}

// Kill cuts short the grace of a run whose end has begun; any other lives on. It
// returns at once.
func (r *Run) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = r.why != ""
	if r.process != nil {
		r.process.Kill()
	}
}

// finish ends the tree after the CLI's last word.
func (r *Run) finish(settle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.record.State == Running {
		r.record.State = Ending
	}
	r.process.Finish(settle)
}

// reason is why End was called, "" when it wasn't.
func (r *Run) reason() outcome.Cause {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// setProcess notes the process; an End that came first is passed on.
func (r *Run) setProcess(p *spawn.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = p
	r.record.State = Running
	if r.why != "" {
		r.record.State = Ending
		p.End(r.why)
	}
	if r.cut {
		p.Kill()
	}
}

// noteDiskFull notes that the disk takes no more.
func (r *Run) noteDiskFull(why string) { r.diskFull.CompareAndSwap(nil, &why) }

// setFiles notes the files of a process to come; before ready they may be those of
// another one.
func (r *Run) setFiles(d *directory, o *outputs, p *replay, spool os.FileInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dir, r.outputs, r.replay, r.spool = d, o, p, spool
}

// sizes are those of its outputs as they are now.
func (r *Run) sizes() (spool, stderr int64, err error) {
	r.mu.Lock()
	o := r.outputs
	r.mu.Unlock()
	return o.sizes()
}

// isLive tells whether it has a process tree.
func (r *Run) isLive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record.State == Running || r.record.State == Ending
}

func (r *Run) finalSize() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.final
}

func (r *Run) setCLISession(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.CLISession = id
}

// startedAt is zero for a run that never started.
func (r *Record) startedAt() time.Time {
	if r.Started == nil {
		return time.Time{}
	}
	return *r.Started
}

// outputs are the daemon's own descriptors of the two files of a live run.
type outputs struct {
	spool, stderr *os.File
}

func (d *directory) openOutputs() (*outputs, error) {
	spool, _, err := openPlain(d.file(spoolName))
	if err != nil {
		return nil, err
	}
	stderr, _, err := openPlain(d.file(stderrName))
	if err != nil {
		spool.Close()
		return nil, err
	}
	return &outputs{spool, stderr}, nil
}

// sizes are those of the spool and of stderr, in bytes.
func (o *outputs) sizes() (spool, stderr int64, err error) {
	a, err := o.spool.Stat()
	if err != nil {
		return 0, 0, err
	}
	b, err := o.stderr.Stat()
	if err != nil {
		return 0, 0, err
	}
	return a.Size(), b.Size(), nil
}

// are tells whether these are the files of those inodes; 0 is unknown, and any.
func (o *outputs) are(spool, stderr uint64) bool {
	return isInode(o.spool, spool) && isInode(o.stderr, stderr)
}

func isInode(f *os.File, n uint64) bool {
	is, ok := inodeOf(f)
	return n == 0 || ok && is == n
}

// inodeOf is not ok of a file that can't be asked.
func inodeOf(f *os.File) (n uint64, ok bool) {
	info, err := f.Stat()
	if err != nil {
		return 0, false
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return is.Ino, true
}

// dropPages writes the outputs back and drops their pages: pages charged to the
// run's group would keep a dying memory cgroup behind after rmdir. It goes by
// descriptor: the child may have put anything in place of the names.
func (o *outputs) dropPages() error {
	return errors.Join(dropFilePages(o.spool), dropFilePages(o.stderr))
}

func dropFilePages(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errs [2]error
	err = conn.Control(func(fd uintptr) {
		errs[0] = os.NewSyscallError("fdatasync", unix.Fdatasync(int(fd)))
		errs[1] = os.NewSyscallError("fadvise", unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED))
	})
	return errors.Join(err, errs[0], errs[1])
}

func (o *outputs) close() {
	o.spool.Close()
	o.stderr.Close()
}
