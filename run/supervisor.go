package run

import (
	"errors"
	"sync/atomic"
	"time"

	"penstock/backend"
	"penstock/image"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
	"penstock/spool"
)

// supervisor is the daemon's own reader of a live run, the one whose machine is
// listened to: it speaks to the CLI, holds the output limits and sees the end.
type supervisor struct {
	run        *Run
	manager    *Manager
	spec       Spec
	checkpoint *store.Checkpoint
	child      child
	files      files
	facts      facts
	turn       turn
	hooks      hooks
}

// child is the run's process.
type child struct {
	process    *spawn.Process // nil: none yet, or of an earlier daemon and gone
	started    time.Time
	adopted    bool         // from an earlier daemon
	sawEvent   bool         // of its output
	image      *image.Image // that it is in, held; nil without one
	cleaningUp bool         // cleanUp is still at it; to be read once process.Gone is closed
}

// facts are what the verdict is made of, beside the process's own outcome.
type facts struct {
	terminal     *outcome.Terminal
	size         int64 // of the spool, as last measured
	overOutput   bool  // the output cap or the line cap was passed
	tamperedWord bool  // terminal is the daemon's: the output was tampered with
	// answerAt is when to answer for a CLI that was done and is still there; zero is never.
	answerAt time.Time
	// terminalAfterFull says that the disk had been full before terminal was read, and
	// wasn't any more.
	terminalAfterFull bool
	outputLost        atomic.Pointer[string] // what cleanUp knows of output that can't be trusted; nil is nothing
}

// turn is the run as one of its session's.
type turn struct {
	session       Session           // zero without one
	fresh         *PromptText       // what to tell a CLI that has forgotten its session; nil once it has not
	forgotten     *outcome.Terminal // its word that it has
	restartFailed bool              // and it could not be started anew
	undoBegin     func() error      // nil: it was not begun
}

// undo is for a start that came to nothing.
func (t *turn) undo() error {
	if t.undoBegin == nil {
		return nil
	}
	return t.undoBegin()
}

// hooks are called once each.
type hooks struct {
	unlockSession func()
	onGone        func() // the slot is free
}

// saveCheckpoint writes the checkpoint of a durable run.
func (s *supervisor) saveCheckpoint() error {
	if !s.spec.Durable {
		return nil
	}
	return s.run.dir.SaveCheckpoint(s.checkpoint)
}

// noteLeader tells the next daemon which the first process is. One that doesn't know
// it asks the group.
func (s *supervisor) noteLeader() {
	pid := s.child.process.PID()
	if pid == 0 || pid == s.checkpoint.Leader {
		return
	}
	s.checkpoint.Leader = pid
	if err := s.saveCheckpoint(); err != nil {
		s.run.log.Warn("the leader is not noted: a later daemon asks its group", "err", err)
	}
}

// supervise follows the run from its start to the removal of its group.
func (s *supervisor) supervise() {
	deadline := s.deadline()
	for {
		if s.child.process != nil && s.follow() {
			deadline()
			s.detach()
			return
		}
		if !s.restart() {
			break
		}
	}
	deadline()
	s.conclude()
	if s.child.process != nil {
		select {
		case <-s.child.process.Gone():
			s.hooks.onGone()
		case <-s.manager.quit:
		}
	} else {
		s.hooks.onGone()
	}
	s.manager.keep(s.run)
}

// follow follows one process to the end of its output; left is that it lives on
// without this daemon.
func (s *supervisor) follow() (left bool) {
	s.noteLeader()
	s.files.stdin.queue(s.files.reading.Open())
	for {
		grown := s.run.spool.Grown.Wait()
		if isClosed(s.run.detached) {
			return true
		}
		ended := isClosed(s.child.process.Ended())
		due := s.answerDue(ended)
		if s.step(grown, ended) {
			continue
		}
		if ended {
			s.sessionUnknownAtExit()
			return false
		}
		var unwatched <-chan time.Time
		if s.files.watch != nil {
			unwatched = time.After(unwatchedMax)
		}
		select {
		case <-grown:
		case <-due:
		case <-s.run.detached:
		case <-s.child.process.Ended():
		case <-unwatched:
			s.files.watch()
		}
	}
}

// unwatchedMax is how long a run's output is not watched for: many end before, also on a
// busy host, and then no reader need be woken by each of their writes. No agent has said a
// word by then.
const unwatchedMax = 20 * time.Millisecond

// detach leaves a run that lives on as a killed daemon would: its checkpoint is
// written, and the stdin log tells what its CLI was told.
func (s *supervisor) detach() {
	s.files.release()
	s.releaseImage()
	s.hooks.unlockSession()
	s.run.letGo()
}

// deadline returns what takes the timer back.
func (s *supervisor) deadline() (stop func() bool) {
	if s.spec.Deadline.IsZero() {
		return func() bool { return true }
	}
	return time.AfterFunc(time.Until(s.spec.Deadline), func() { s.run.End(outcome.Timeout) }).Stop
}

// step parses one frame or reads once; false when there is nothing to do
// until the spool grows, which grown tells, or when all is read.
func (s *supervisor) step(grown <-chan struct{}, ended bool) bool {
	if s.run.spool.Tampered() {
		if !s.facts.tamperedWord {
			s.checkSpool()
			s.failTampered(truncatedHint)
			s.run.finish(false)
		}
		return false
	}
	if s.facts.overOutput {
		// Why it ended is known; what is left to parse could be millions of lines.
		s.measure(ended)
		return false
	}
	if events, writes, ok := s.files.reading.Next(); ok {
		s.files.stdin.queue(writes)
		if s.turn.forgotten != nil || s.sessionUnknown(events) {
			return true // of a process that is being ended
		}
		for _, e := range events {
			s.handle(e)
		}
		return true
	}
	if s.files.reading.TooLong() {
		s.exceedOutput()
	}
	if s.files.reading.Done() {
		return false
	}
	if !ended && grown == s.files.seen {
		s.files.reading.Rest()
		return false
	}
	s.measure(ended)
	n, err := s.files.reading.Fill()
	if err == nil && s.files.reading.AtEnd() {
		s.files.seen = grown
	}
	switch {
	case errors.Is(err, spool.ErrTampered):
		s.run.spool.MarkTampered()
		return true
	case err != nil:
		s.run.log.Error("spool not readable", "err", err)
	}
	if n == 0 && ended {
		s.files.reading.End()
	}
	return n > 0 || ended
}

// measure holds the cap on what the run writes. Once ended, the sizes are final.
func (s *supervisor) measure(ended bool) {
	if ended && s.files.reading.Limited() {
		return
	}
	size, stderr, err := s.files.outputs.Sizes()
	if err != nil {
		s.run.log.Error("outputs not measured", "err", err)
	}
	if ended {
		s.files.reading.Limit(size)
	}
	s.facts.size = size
	s.run.setOutputBytes(size + stderr)
	if size+stderr > s.spec.OutputMax {
		s.exceedOutput()
	}
}

func (s *supervisor) exceedOutput() {
	if !s.facts.overOutput {
		s.facts.overOutput = true
		s.run.End(outcome.OutputLimit)
	}
}

// handle takes from an event what the daemon itself must know.
func (s *supervisor) handle(e backend.Event) {
	if !s.child.sawEvent && !s.child.adopted {
		s.child.sawEvent = true
		s.manager.observer.FirstOutput(s.run.Record(), time.Since(s.child.started))
	}
	if e.Kind == backend.Session {
		if e.Session != "" {
			s.saveSession(e.Session)
		}
		return
	}
	if t := terminalOf(e); t != nil && s.facts.terminal == nil {
		s.facts.terminal = t
		s.facts.terminalAfterFull = s.run.diskFull.Load() != nil && refusesWrites(s.run.dir) == ""
		s.run.finish(s.checkpoint.Settle)
		if t.Done && !isClosed(s.run.answered) {
			s.facts.answerAt = time.Now().Add(answerAfter)
		}
	}
}

// terminalOf is the CLI's last word, nil for any other event.
func terminalOf(e backend.Event) *outcome.Terminal {
	switch {
	case e.Kind == backend.Done:
		return &outcome.Terminal{Done: true, Finish: e.Finish}
	case e.Kind == backend.Failed && e.Failure != nil:
		return &outcome.Terminal{Failure: failureCause(e.Failure.Code), Message: e.Failure.Message}
	}
	return nil
}

// failureCause keeps a backend's code only where the HTTP surface knows it.
func failureCause(code string) outcome.Cause {
	switch c := outcome.Cause(code); c {
	case outcome.ProviderAuth, outcome.ProviderRateLimit, outcome.ProviderError, outcome.InvalidOutput, outcome.UnsupportedInput:
		return c
	}
	return outcome.CLIError
}

// beginTurn notes the turn before it is started: where that can't be written down, a later
// daemon would take the one before it for the last.
func (s *supervisor) beginTurn() (err error) {
	if s.turn.session.Session == "" {
		return nil
	}
	s.turn.undoBegin, err = s.manager.sessions.Begin(s.turn.session, s.run.dir.Flush)
	return err
}

// saveSession keeps what the CLI calls the session at once: the next turn must find it even
// when this one is killed.
func (s *supervisor) saveSession(cliSession string) {
	s.run.setCLISession(cliSession)
	if s.turn.session.Session == "" || cliSession == s.turn.session.CLISession {
		return
	}
	s.turn.session.CLISession = cliSession
	s.putSession()
}

func (s *supervisor) putSession() {
	s.turn.session.Updated = time.Now()
	if err := s.manager.sessions.Put(s.turn.session, s.run.dir.Flush); err != nil {
		s.run.log.Error("session not remembered: its next turn starts anew", "err", err)
	}
}

// endTurn gives the session the chain of its conversation, where one was told and the turn
// is whole.
func (s *supervisor) endTurn(r Record, chain Chain) {
	if chain == (Chain{}) {
		return
	}
	if err := s.manager.setChain(lastTurn{r, s.checkpoint.Settle}, chain); err != nil {
		s.manager.sessions.Unexpect(r.Client, r.Session, chain)
		s.run.log.Warn("a conversation is not found by its text", "session", r.Session, "err", err)
	}
}
