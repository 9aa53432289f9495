package spawn

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"penstock/cgroup"
	"penstock/outcome"
)

// group is what a Process needs of its cgroup.Group; tests put a group in its
// place that can't be emptied.
type group interface {
	Procs() ([]int, error)
	Populated() (bool, error)
	Kill() error
	NoteEnd(why string) error
	WaitEmpty(context.Context) error
	Usage() (cgroup.Usage, error)
	CPUTime() (uint64, error)
	MemoryMax() (int64, bool)
	PidsMax() (int64, bool)
	StorageIO() (uint64, error)
	CPUWait() *uint64
	Receipt() (cgroup.Receipt, error)
	Remove(context.Context) error
	Gone() <-chan struct{}
}

// Process is one live process tree in its group. Its methods are safe for
// concurrent use and none but channel receives blocks. What is asked of it, and
// what is told of it in this order:
//
//	stop          End or Finish: it is to end
//	stop, term    End: now, not when its leader exits by itself
//	stop .. kill  Kill: without the rest of its grace
//	exited        the leader is gone, asked or not
//	ended         the tree is gone and accounted for
//	gone          its group is removed
//
// A detached one is told nothing more.
type Process struct {
	group     group
	leader    leader
	cmd       Command
	log       *slog.Logger
	bound     time.Duration // of each wait of the teardown
	goneGrace time.Duration
	reaped    func() // its leader's status has been taken
	// adopted is a tree that an earlier daemon has started.
	adopted bool

	stop, term, kill    flag
	exited, ended, gone chan struct{}

	mu       sync.Mutex // over what follows, and for raising flags
	detached bool
	reason   outcome.Cause
	graceful bool // Finish lets the leader exit by itself
	outcome  outcome.Outcome

	abandoned <-chan struct{}
	over      func()      // nil until it is supervised
	unwatch   func() bool // its leader, see exitPoller.watch
}

// flag is a channel that is closed when it is raised, the first time.
type flag struct {
	c  chan struct{}
	up bool
}

func (f *flag) raise() {
	if !f.up {
		f.up = true
		close(f.c)
	}
}

func newProcess(c Command, g group, l leader, began time.Time, log *slog.Logger) *Process {
	started := time.Now()
	// The rest of the command is for the start alone: files, environment and arguments would
	// be held as long as the tree lives.
	if i, ok := l.(*imageLeader); ok {
		g = groupInImage(g, i.begun)
	}
	c = Command{ID: c.ID, SoftEnd: c.SoftEnd, Grace: c.Grace, BeforeRemove: c.BeforeRemove}
	return &Process{
		group: g, leader: l, cmd: c, log: log, bound: teardownMax, goneGrace: goneGrace,
		stop: flag{c: make(chan struct{})}, term: flag{c: make(chan struct{})}, kill: flag{c: make(chan struct{})},
		exited: make(chan struct{}), ended: make(chan struct{}), gone: make(chan struct{}),
		outcome: outcome.Outcome{Started: started, Spawn: started.Sub(began)},
	}
}

// PID is the leader's; 0 of an adopted tree whose leader was gone.
func (p *Process) PID() int { return p.leader.pid() }

// goneGrace is how much of its grace a run may take once its client has gone: it
// holds a slot for an answer that is not wanted any more.
const goneGrace = 5 * time.Second

// End ends the tree and records why: SIGTERM to the leader and grace first
// where the command wants it, else cgroup.kill at once. The first reason wins,
// and there is none once the leader has exited by itself or Finish was called.
// It returns at once.
func (p *Process) End(why outcome.Cause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.detached || p.isExited() {
		return
	}
	if why == outcome.ClientGone {
		time.AfterFunc(p.goneGrace, p.Kill)
	}
	if !p.stop.up {
		p.reason = why
		if err := p.group.NoteEnd(string(why)); err != nil {
			p.log.Warn("the reason of an end is not noted for a later daemon", "run", p.cmd.ID, "err", err)
		}
		p.toEnd()
	}
	p.term.raise()
}

// Finish ends the tree tidily after the CLI has said its last word: no reason
// is recorded. With graceful the leader first gets the grace period to exit by
// itself, which a later End cuts short. It returns at once.
func (p *Process) Finish(graceful bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.detached || p.stop.up || p.isExited() {
		return
	}
	p.graceful = graceful
	p.toEnd()
}

// toEnd begins the end of a tree whose leader has not exited. mu is held.
func (p *Process) toEnd() {
	p.stop.raise()
	if p.over != nil { // else supervise begins it
		go p.end()
	}
}

// Kill cuts short what grace is left to a tree whose end has begun; any other
// lives on. It returns at once.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop.up {
		p.kill.raise()
	}
}

// Detach lets the tree live on for another Spawner to adopt: from then on nothing
// here ends it, waits for it or takes its exit status, and Ended stays open. It
// is false, and changes nothing, for a tree whose end has begun: that is to be
// seen through here.
func (p *Process) Detach() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop.up || p.isExited() {
		return false
	}
	p.detached = true
	if p.unwatch() {
		go p.over()
	}
	return true
}

func (p *Process) isDetached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.detached
}

// Exited is closed when the leader is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Ended is closed when the tree is gone and its receipt read, or given up (Outcome.Leaked).
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Gone is closed, after Ended, when the group is really removed: only then is
// its memory free. It stays open when the Spawner is closed before that.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Outcome is complete after Ended.
func (p *Process) Outcome() outcome.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outcome
}

// Usage reads the group live; it fails once the group is removed.
func (p *Process) Usage() (cgroup.Usage, error) { return p.group.Usage() }

// Receipt is what it has used until now; it fails once the group is removed.
func (p *Process) Receipt() (cgroup.Receipt, error) { return p.group.Receipt() }

// CPUTime is the processor time that its group has used, in microseconds; it is what
// of Usage costs least. It fails once the group is removed.
func (p *Process) CPUTime() (uint64, error) { return p.group.CPUTime() }

// MemoryMax is the memory cap that the kernel holds on it, in bytes; not ok
// where it holds none.
func (p *Process) MemoryMax() (n int64, ok bool) { return p.group.MemoryMax() }

// PidsMax is the same of its processes.
func (p *Process) PidsMax() (n int64, ok bool) { return p.group.PidsMax() }

// StorageIO sums what its live processes have moved to and from storage, in
// bytes, for where Usage doesn't tell; see cgroup.Group.
func (p *Process) StorageIO() (uint64, error) { return p.group.StorageIO() }

// CPUWait is how long some of its live processes waited for a processor, in
// microseconds since its start. Nil is unknown: a kernel without PSI.
func (p *Process) CPUWait() *uint64 { return p.group.CPUWait() }

func (p *Process) isExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// leaderExited is for a leader that has exited, or can't be waited for any more. It ends
// a tree that was not asked to end before.
func (p *Process) leaderExited(err error) {
	switch asked, detached := p.takeStatus(err); {
	case detached:
		p.over()
	case !asked:
		p.end()
	}
}

// takeStatus is the one place that takes the leader's exit status, and not that of one
// that was detached. asked is that the tree's end had begun before.
func (p *Process) takeStatus(err error) (asked, detached bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.detached {
		return false, true
	}
	exit, reapErr := p.leader.reap()
	if p.reaped != nil {
		p.reaped()
	}
	if err := errors.Join(err, reapErr); err != nil {
		p.log.Error("leader not waited for", "run", p.cmd.ID, "err", err)
	}
	p.outcome.Exited, p.outcome.Exit = time.Now(), exit
	close(p.exited)
	return p.stop.up, false
}
