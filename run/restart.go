package run

import (
	"context"
	"errors"
	"time"

	"penstock/backend"
	"penstock/internal/openat"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/spool"
)

// restartedNotice is the first event of a run whose CLI had forgotten its session.
const restartedNotice = "the CLI does not know this session any more: it was started anew, with the conversation as this request has it"

// sessionUnknown takes the events of one line for which the CLI has refused its session
// before it did anything, where it can be started anew. It ends the process then,
// and nothing of what it said counts. Any other event but a Notice tells that
// it has the session, and lets readers in.
func (s *supervisor) sessionUnknown(events []backend.Event) bool {
	if s.turn.fresh == nil {
		return false
	}
	for _, e := range events {
		if e.Kind == backend.Failed && e.Failure != nil && e.Failure.SessionUnknown {
			s.turn.forgotten = terminalOf(e)
			s.run.finish(false)
			return true
		}
	}
	for _, e := range events {
		if e.Kind != backend.Notice {
			s.forgoRestart()
			break
		}
	}
	return false
}

// forgoRestart is when the CLI can't be started anew any more.
func (s *supervisor) forgoRestart() {
	s.turn.fresh, s.spec.Fresh = nil, nil
	s.run.spool.Publish()
}

// sessionUnknownAtExit looks at a process that has ended without a last word.
func (s *supervisor) sessionUnknownAtExit() {
	if s.turn.fresh == nil || s.turn.forgotten != nil || s.facts.terminal != nil || s.facts.overOutput || s.run.spool.Tampered() {
		return
	}
	o, f := s.child.process.Outcome(), s.spec.Backend.Features()
	if o.Reason != "" || f.Exit == nil || !o.Exit.Known || o.Exit.Signal != 0 {
		return
	}
	if failure := f.Exit(o.Exit.Code, s.stderr()); failure != nil && failure.SessionUnknown {
		s.turn.forgotten = terminalOf(backend.Event{Kind: backend.Failed, Failure: failure})
	}
}

// errRestartEnded is a restart that the end of the run was faster than.
var errRestartEnded = errors.New("the run was ended before that")

// restart starts the CLI anew, told the whole conversation and without the session:
// in a fresh group, under the same id, slot, session lock and deadline. False is that the
// run is over, and how is settled.
func (s *supervisor) restart() bool {
	if s.turn.forgotten == nil {
		return false
	}
	why := *s.turn.forgotten
	err := s.startAnew()
	if over := pendingStart(err); over != nil {
		select {
		case <-over:
		case <-s.manager.quit:
		}
	}
	s.turn.forgotten = nil
	if err == nil {
		s.run.log.Info("session forgotten by its CLI: started anew", "session", s.spec.Session, "client", s.spec.Client)
		return true
	}
	if !errors.Is(err, errRestartEnded) {
		why.Message += "; it could not be started anew: " + err.Error()
	}
	s.facts.terminal, s.turn.restartFailed = &why, true
	s.run.spool.Silence()
	s.checkpoint.Silent = true
	return false
}

// startAnew is one try; whatever fails, the run's own files are there to be concluded.
func (s *supervisor) startAnew() error {
	if err := s.awaitGone(); err != nil {
		return err
	}
	r, d, fresh := s.run, s.run.dir, *s.turn.fresh
	if s.spec.Durable {
		s.checkpoint.Restart = store.RestartDue
		if err := s.saveCheckpoint(); err != nil {
			return err
		}
	}
	known := s.turn.session
	known.CLISession, known.Updated = "", time.Now()
	if err := s.manager.sessions.Put(known, d.Flush); err != nil {
		return err
	}
	spec := s.spec
	spec.Request.System, spec.Request.Prompt, spec.Request.Session = fresh.System, fresh.Prompt, ""
	spec.Request.Attachments = fresh.Attachments
	if err := d.RemoveScratch(); err != nil {
		return err
	}
	if err := d.Mkdir(store.TmpName); err != nil {
		return err
	}
	p, err := s.prepare(d, spec)
	defer func() { p.close() }()
	if err != nil {
		return err
	}
	// Not before: what can't be started anew keeps the output it has.
	if err := d.RemoveOutputs(); err != nil {
		return err
	}
	std, err := d.OpenStdio(p.command)
	if err != nil {
		return err
	}
	defer std.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	next := newCheckpoint(spec, p)
	old := s.files
	s.files = files{}
	next.Restart, next.Fresh, next.Asked = store.RestartDone, s.checkpoint.Fresh, d.Asked
	s.checkpoint, s.spec, s.child.adopted = next, spec, false
	if err := s.open(d); err != nil {
		s.files.release()
		s.files = old
		return err
	}
	old.release()
	s.facts.terminal, s.turn.fresh, s.spec.Fresh = nil, nil, nil
	s.facts.outputLost.Store(nil)
	r.beginAnew()
	err = s.startProcess(ctx, std, p)
	if errors.Is(err, context.Canceled) {
		return errRestartEnded
	}
	s.run.spool.Publish()
	return err
}

// awaitGone waits until the group of the process that has ended is free to be made
// anew.
func (s *supervisor) awaitGone() error {
	if s.run.reason() != "" {
		return errRestartEnded
	}
	if s.child.process == nil {
		return nil // of an earlier daemon
	}
	late := time.NewTimer(removeWait)
	defer late.Stop()
	select {
	case <-s.child.process.Gone():
	case <-s.run.stop:
		return errRestartEnded
	case <-s.manager.quit:
		return errRestartEnded
	case <-late.C:
		return errors.New("its group is still there")
	}
	if s.child.cleaningUp {
		return errors.New("its scratch is still there")
	}
	return nil
}

// renew completes the Spec of a run of an earlier daemon by what the configuration
// gives, so that its CLI can be started anew; false where it can't be.
func (m *Manager) renew(d *store.Dir, s *Spec, cp *store.Checkpoint) bool {
	fresh, err := d.LoadFresh(cp)
	if err != nil {
		m.log.Warn("a CLI that has forgotten its session can't be started anew", "run", s.ID, "err", err)
	}
	if fresh == nil || m.o.Renew == nil {
		return false
	}
	now, ok := m.o.Renew(s.Backend.Name())
	if !ok || !isIn(now.Image, cp.Record.Image) {
		return false
	}
	s.Argv, s.Env, s.User, s.Home, s.HomeSeed, s.Image, s.OpenCwd = now.Argv, now.Env, now.User, now.Home, now.HomeSeed, now.Image, now.OpenCwd
	s.Request, s.Fresh = cp.Request, fresh
	d.User = s.User
	return true
}

// resumeRestart is for a run of an earlier daemon whose CLI has forgotten its session and
// is gone, and that has not been started anew: nil for any other.
func (m *Manager) resumeRestart(d *store.Dir, record Record, cp *store.Checkpoint, b backend.Backend) *Run {
	if cp == nil || b == nil || cp.BeforeReboot || record.State == Finished {
		return nil
	}
	s := specOf(cp, record, b)
	if !m.renew(d, &s, cp) {
		return nil
	}
	word := &outcome.Terminal{Failure: outcome.CLIError, Message: "the CLI does not know the session any more"}
	if cp.Restart != store.RestartDue {
		if word = m.lastSessionUnknown(d, cp, b); word == nil {
			return nil
		}
	}
	release, ok := m.sessionLocks.TryAcquire(sessions.Key(cp.Session.Client, cp.Session.Session))
	if !ok {
		return nil
	}
	d.Flush = m.o.flush
	record.State, record.Durable = Ending, true
	record.Adopted++
	r := newRun(ending, record, m.log)
	r.stall, r.fingerprint, r.dir = cp.Stall, cp.Fingerprint, d
	sup := &supervisor{
		run: r, manager: m, spec: s, checkpoint: cp, child: child{adopted: true},
		turn: turn{session: cp.Session, fresh: s.Fresh, forgotten: word}, hooks: hooks{unlockSession: release},
	}
	gone := m.o.Adopted(record)
	sup.hooks.onGone = func() { gone(r.Record()) }
	m.interrupted = append(m.interrupted, sup)
	return r
}

// lastSessionUnknown is the word of an output, or of stderr, that the session is unknown.
func (m *Manager) lastSessionUnknown(d *store.Dir, cp *store.Checkpoint, b backend.Backend) *outcome.Terminal {
	word, unknown := m.lastTerminal(d, cp, b)
	if unknown {
		return word
	}
	exit := b.Features().Exit
	if word != nil || exit == nil {
		return nil
	}
	f, info, err := openat.Regular(d.File(store.StderrName))
	if err != nil || !spool.IsInode(f, cp.Stderr) {
		return nil
	}
	defer f.Close()
	tail, err := spool.ReadTail(f, info.Size())
	if err != nil {
		return nil
	}
	if failure := exit(-1, tail); failure != nil && failure.SessionUnknown {
		return terminalOf(backend.Event{Kind: backend.Failed, Failure: failure})
	}
	return nil
}
