package run

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/spawn"
)

// phase is where a run stands in its life. It is the one state that the code goes
// by; the State that the API shows is made of it. See doc.go for the picture.
type phase uint8

const (
	waiting  phase = iota // for its session
	starting              // its files are made and its process is started, or started anew
	running
	ending   // End was called, or its CLI has said its last word
	finished // verdict and record are final
	detached // its process lives on, for the next daemon
)

// leadsTo is the machine: whether a run may go from one phase to the next.
func (p phase) leadsTo(next phase) bool {
	switch p {
	case waiting:
		return next == starting || next == finished
	case starting:
		return next == running || next == finished
	case running:
		return next == ending || next == starting || next == finished || next == detached
	case ending:
		return next == starting || next == finished
	default: // finished, detached
		return false
	}
}

// to is the one place where a run changes its phase. It refuses what the machine
// doesn't have, and changes nothing then. mu is held.
func (r *Run) to(next phase) bool {
	if !r.phase.leadsTo(next) {
		return false
	}
	r.phase = next
	r.record.State = r.shown()
	if next == detached {
		close(r.detached)
	}
	return true
}

// shown is the State that the API shows. mu is held.
func (r *Run) shown() State {
	switch r.phase {
	case waiting:
		return Waiting
	case starting:
		switch {
		case !r.record.SessionRestarted:
			return Waiting
		case r.why != "":
			return Ending
		}
		return Running // it was before
	case ending:
		return Ending
	case finished:
		return Finished
	default: // running, detached
		return Running
	}
}

// announce closes Ended, where all that the verdict stands for is done. It is for a
// finished run, once.
func (r *Run) announce() {
	r.spool.Publish() // readers of a run that never got an output wait for it
	r.mu.Lock()
	if !isClosed(r.answered) {
		close(r.answered)
	}
	close(r.ended)
	onOver := r.onOver
	r.mu.Unlock()
	r.spool.Grown.Signal()
	if onOver != nil {
		onOver()
	}
}

// OnOver has f called once when Ended or Detached is closed, or at once where one is
// already. A later f takes the place of an earlier one.
func (r *Run) OnOver(f func()) {
	r.mu.Lock()
	over := isClosed(r.ended) || isClosed(r.detached)
	r.onOver = f
	r.mu.Unlock()
	if over {
		f()
	}
}

// letGo closes done, the last of all: this daemon holds nothing of the run any more.
// It is for a run that was announced or is detached, once.
func (r *Run) letGo() {
	close(r.done)
}

// End ends the run, whatever state it is in; one that still waits is never
// started. The first reason wins. A client that goes when it has its answer is no
// reason. It returns at once.
func (r *Run) End(why outcome.Cause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == finished || r.phase == detached || why == outcome.ClientGone && isClosed(r.answered) {
		return
	}
	if r.why == "" {
		r.why = why
		close(r.stop)
	}
	r.record.State = r.shown()
	if r.process != nil {
		r.to(ending)
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

// reason is why End was called, "" when it wasn't.
func (r *Run) reason() outcome.Cause {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// begin is for a run that has its session.
func (r *Run) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to(starting)
}

// beginAnew is for a run whose CLI has forgotten its session: it gets another process.
func (r *Run) beginAnew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to(starting) {
		r.record.SessionRestarted, r.record.CLISession = true, ""
		r.record.State = r.shown()
	}
}

// toRecord is the record as it goes to disk before the process starts: a daemon that
// dies in between must find the run.
func (r *Run) toRecord(at time.Time, cliSession string) Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.Started, r.record.CLISession, r.record.Resumed = &at, cliSession, cliSession != ""
	record := r.record
	record.State = Running
	return record
}

// started notes the process; an End that came first is passed on.
func (r *Run) started(p *spawn.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = p
	r.to(running)
	if r.why != "" {
		r.to(ending)
		p.End(r.why)
	}
	if r.cut {
		p.Kill()
	}
}

// finish ends the tree after the CLI's last word.
func (r *Run) finish(settle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle = settle
	r.to(ending)
	r.process.Finish(settle)
}

// detach is false for a run that is this daemon's to see to its end.
func (r *Run) detach() bool {
	r.mu.Lock()
	left := r.record.Durable && r.phase == running && r.process.Detach() && r.to(detached)
	onOver := r.onOver
	r.mu.Unlock()
	if left && onOver != nil {
		onOver()
	}
	return left
}

// conclude makes the verdict and the record final; announce follows. Where the run was
// answered, the verdict is what was said then, and v is its warning. The chain is what
// expectChain was given.
func (r *Run) conclude(o outcome.Outcome, v outcome.Verdict, t *outcome.Terminal) (Record, Chain) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = nil // it holds the prompt and the environment; the run is kept for long
	r.to(finished)
	c := &r.record
	c.Ended = &now
	if c.Answered != nil {
		c.Warning = warningOf(v)
	} else {
		r.verdict = v
		c.Cause, c.Message = v.Cause, v.Message
		if t != nil && v.Cause == outcome.Completed {
			c.Finish = t.Finish
		}
	}
	if !o.Started.IsZero() {
		c.Started = &o.Started
	}
	if !o.Exited.IsZero() {
		c.Exited = &o.Exited
	}
	c.Receipt, c.EnforcedBy, c.Survived = &o.Receipt, o.Receipt.EnforcedBy, o.Survived
	if o.Exit.Known && o.Exit.Signal != 0 {
		c.Signal = unix.SignalName(o.Exit.Signal)
	} else if o.Exit.Known {
		c.Exit = &o.Exit.Code
	}
	return *c, r.chain
}

func (r *Run) lastTurn() lastTurn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return lastTurn{r.record, r.settle}
}

// expectChain notes the chain that the run's session is to have when the run has ended, in
// the place of one before; not ok is that it has.
func (r *Run) expectChain(chain Chain) (before Chain, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == finished || r.phase == detached {
		return Chain{}, false
	}
	before, r.chain = r.chain, chain
	return before, true
}

// abort finishes a run that was never started; Ended is closed also for what waits
// for it already.
func (r *Run) abort(err error) {
	verdict := outcome.Verdict{Cause: abortCause(err), Message: err.Error()}
	now := time.Now()
	r.mu.Lock()
	r.verdict = verdict
	r.to(finished)
	r.record.Cause, r.record.Message = verdict.Cause, verdict.Message
	r.record.Started, r.record.Ended = nil, &now
	r.mu.Unlock()
	r.announce()
	r.letGo()
}

func abortCause(err error) outcome.Cause {
	var start *spawn.StartError
	switch {
	case errors.As(err, &start):
		return start.Cause
	case errors.Is(err, context.DeadlineExceeded):
		return outcome.QueueTimeout
	case errors.Is(err, context.Canceled):
		return outcome.Cancelled
	}
	return outcome.CLIError
}
