package run

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
	"penstock/spool"
)

// supervisor is the daemon's own reader of a live run, the one whose machine is
// listened to: it speaks to the CLI, holds the output limits and sees the end.
type supervisor struct {
	run           *Run
	manager       *Manager
	spec          Spec
	checkpoint    *store.Checkpoint
	session       Session // zero without one
	unlockSession func()  // frees the session
	onGone        func()

	outputs   *spool.Outputs
	stopWatch func() // of the outputs
	size      int64  // of the spool, as last measured
	stdin     *stdinWriter
	process   *spawn.Process
	spawned   time.Time

	reading      *spool.Reading
	terminal     *outcome.Terminal
	sawEvent     bool // an event came
	adopted      bool // from an earlier daemon
	overOutput   bool // the output cap or the line cap was passed
	tamperedWord bool // terminal is the daemon's: the output was tampered with
	// terminalAfterFull says that the disk had been full before terminal was read, and
	// wasn't any more.
	terminalAfterFull bool
	outputLost        atomic.Pointer[string] // what cleanUp knows of output that can't be trusted; nil is nothing

	fresh          *PromptText       // what to tell a CLI that has forgotten its session; nil once it has not
	unknownSession *outcome.Terminal // its word that it has
	restartFailed  bool              // and it could not be started anew
	cleaningUp     bool              // cleanUp is still at it; to be read once process.Gone is closed
}

// open takes hold of the run's files before the child can write to them.
func (s *supervisor) open(d *store.Dir) (err error) {
	if s.outputs, err = spool.OpenOutputs(d.File(store.SpoolName), d.File(store.StderrName)); err != nil {
		return err
	}
	s.stopWatch = spool.WatchFiles(s.manager.notifier, &s.run.spool.Grown, s.run.log, d.File(store.SpoolName), d.File(store.StderrName))
	if s.checkpoint.Talks {
		if err := s.openStdin(d); err != nil {
			return err
		}
	}
	if s.spec.Durable && !s.adopted {
		s.checkpoint.Spool, _ = spool.InodeOf(s.outputs.Spool)
		s.checkpoint.Stderr, _ = spool.InodeOf(s.outputs.Stderr)
	}
	s.session = s.checkpoint.Session
	info, err := s.outputs.Spool.Stat()
	if err != nil {
		return err
	}
	s.run.setOutputs(s.outputs)
	replay := newReplay(s.spec.Backend, s.checkpoint)
	s.run.dir = d
	s.run.spool.Set(d.File(store.SpoolName), info, replay)
	s.reading = replay.ReadBy(s.spec.Backend.Machine(s.checkpoint.Request), s.outputs.Spool)
	return nil
}

func (s *supervisor) openStdin(d *store.Dir) (err error) {
	var told *store.StdinLog
	if s.spec.Durable {
		if told, err = store.OpenStdinLog(d.StorePath(store.StdinLogName), !s.adopted); err != nil {
			return err
		}
	}
	s.stdin, err = newStdinWriter(d.File(store.StdinName), told)
	return err
}

// release releases all that open took.
func (s *supervisor) release() {
	if s.stopWatch != nil {
		s.stopWatch()
	}
	s.stdin.close()
	if s.outputs != nil {
		s.outputs.Close()
	}
}

// cleanUpMax bounds what a file system or a child's million files may cost the
// end of a run; the rest is done in the background.
const cleanUpMax = 10 * time.Second

// cleanUp is for the moment when the run's group is empty and not yet removed.
func (s *supervisor) cleanUp(o outcome.Outcome) {
	log, dir, outputs := s.run.log, s.run.dir, s.outputs
	if !within(cleanUpMax, func() {
		// First: what the run itself filled the disk with is about to go.
		if why := refusesWrites(dir); why != "" {
			s.run.noteDiskFull(why)
		}
		if err := dir.RemoveScratch(); err != nil {
			log.Warn("scratch not removed", "err", err)
		}
		if err := outputs.DropPages(); err != nil {
			log.Warn("output not written back (hint: check the disk of the state directory)", "err", err)
			if why := diskError(err); why != "" {
				s.outputLost.Store(&why)
			}
		}
		if err := dir.SaveEnd(o); err != nil {
			log.Warn("the end is not noted for a later daemon", "err", err)
		}
	}) {
		s.cleaningUp = true
		log.Warn("scratch not removed yet: the run ends without it", "after", cleanUpMax)
	}
}

// within waits for f only so long, and tells whether it returned.
func within(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// launch starts the process and supervises it from then on.
func (s *supervisor) launch(ctx context.Context, std store.Stdio, p plan) error {
	if err := s.startProcess(ctx, std, p); err != nil {
		return err
	}
	if s.fresh == nil {
		s.run.spool.Publish() // else readers wait until the CLI has its session
	}
	s.manager.started(s.run, time.Since(s.spawned))
	go s.supervise()
	return nil
}

// startProcess starts the process. The record is on disk first: what can't be
// recorded is not started.
func (s *supervisor) startProcess(ctx context.Context, std store.Stdio, p plan) error {
	r, spec := s.run, s.spec
	if r.reason() != "" {
		return context.Canceled
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	record := r.toRecord(time.Now(), p.session.CLISession)
	s.checkpoint.Record = record
	steps := []func() error{s.saveCheckpoint, func() error { return r.dir.Save(record) }, r.dir.FlushNames}
	if s.checkpoint.Restart == store.RestartDone {
		// The checkpoint last: until then the next daemon may try it, and from then on
		// it can't know whether the process was started.
		steps = append(steps[1:], steps[0])
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	s.spawned = time.Now()
	process, err := s.manager.spawner.Start(ctx, spawn.Command{
		ID: spec.ID, Argv: slices.Concat(spec.Argv, p.command.Argv), Env: p.env, Dir: p.dir.cwd, Held: p.dir.held,
		Stdin: std.Stdin, Stdout: std.Stdout, Stderr: std.Stderr,
		Limits: spec.Limits, User: spec.User.Credential(), SoftEnd: p.command.SoftEnd, Grace: spec.Grace,
		BeforeRemove: s.cleanUp,
	})
	if err != nil {
		return err
	}
	s.process = process
	s.spec.Request.Prompt, s.spec.Request.System = "", "" // they have been written; a restart needs the rest
	s.saveSession("")
	r.started(process)
	return nil
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
	pid := s.process.PID()
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
		if s.process != nil && s.follow() {
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
	if s.process != nil {
		select {
		case <-s.process.Gone():
			s.onGone()
		case <-s.manager.quit:
		}
	} else {
		s.onGone()
	}
	s.run.letGo()
	s.manager.finished(s.run.Record().OutputBytes)
}

// follow follows one process to the end of its output; left is that it lives on
// without this daemon.
func (s *supervisor) follow() (left bool) {
	s.noteLeader()
	s.stdin.queue(s.reading.Open())
	for {
		grown := s.run.spool.Grown.Wait()
		if isClosed(s.run.detached) {
			return true
		}
		ended := isClosed(s.process.Ended())
		if s.step(ended) {
			continue
		}
		if ended {
			s.sessionUnknownAtExit()
			return false
		}
		select {
		case <-grown:
		case <-s.run.detached:
		case <-s.process.Ended():
		}
	}
}

// detach leaves a run that lives on as a killed daemon would: its checkpoint is
// written, and the stdin log tells what its CLI was told.
func (s *supervisor) detach() {
	s.release()
	s.unlockSession()
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
// until the spool grows, or when all is read.
func (s *supervisor) step(ended bool) bool {
	if s.run.spool.Tampered() {
		if !s.tamperedWord {
			s.checkSpool()
			s.failTampered(truncatedHint)
			s.run.finish(false)
		}
		return false
	}
	if s.overOutput {
		// Why it ended is known; what is left to parse could be millions of lines.
		s.measure(ended)
		return false
	}
	if events, writes, ok := s.reading.Next(); ok {
		s.stdin.queue(writes)
		if s.unknownSession != nil || s.sessionUnknown(events) {
			return true // of a process that is being ended
		}
		for _, e := range events {
			s.handle(e)
		}
		return true
	}
	if s.reading.TooLong() {
		s.exceedOutput()
	}
	if s.reading.Done() {
		return false
	}
	s.measure(ended)
	n, err := s.reading.Fill()
	switch {
	case errors.Is(err, spool.ErrTampered):
		s.run.spool.MarkTampered()
		return true
	case err != nil:
		s.run.log.Error("spool not readable", "err", err)
	}
	if n == 0 && ended {
		s.reading.End()
	}
	return n > 0 || ended
}

// measure holds the cap on what the run writes. Once ended, the sizes are final.
func (s *supervisor) measure(ended bool) {
	if ended && s.reading.Limited() {
		return
	}
	size, stderr, err := s.outputs.Sizes()
	if err != nil {
		s.run.log.Error("outputs not measured", "err", err)
	}
	if ended {
		s.reading.Limit(size)
	}
	s.size = size
	s.run.setOutputBytes(size + stderr)
	if size+stderr > s.spec.OutputMax {
		s.exceedOutput()
	}
}

func (s *supervisor) exceedOutput() {
	if !s.overOutput {
		s.overOutput = true
		s.run.End(outcome.OutputLimit)
	}
}

// handle takes from an event what the daemon itself must know.
func (s *supervisor) handle(e backend.Event) {
	if !s.sawEvent && !s.adopted {
		s.sawEvent = true
		s.manager.observer.FirstOutput(s.run.Record(), time.Since(s.spawned))
	}
	if e.Kind == backend.Session {
		s.saveSession(e.Session)
		return
	}
	if t := terminalOf(e); t != nil && s.terminal == nil {
		s.terminal = t
		s.terminalAfterFull = s.run.diskFull.Load() != nil && refusesWrites(s.run.dir) == ""
		s.run.finish(s.checkpoint.Settle)
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

// failureCause keeps an adapter's code only where the HTTP surface knows it.
func failureCause(code string) outcome.Cause {
	switch c := outcome.Cause(code); c {
	case outcome.ProviderAuth, outcome.ProviderRateLimit, outcome.ProviderError:
		return c
	}
	return outcome.CLIError
}

// saveSession keeps the session at once: the next turn must find it even when
// this one is killed. An empty id keeps what is known.
func (s *supervisor) saveSession(cliSession string) {
	if cliSession != "" {
		s.run.setCLISession(cliSession)
	}
	if s.session.Session == "" || (cliSession != "" && cliSession == s.session.CLISession) {
		return
	}
	if cliSession != "" {
		s.session.CLISession = cliSession
	}
	s.session.Updated = time.Now()
	if err := s.manager.sessions.put(s.session, s.run.dir.Flush); err != nil {
		s.run.log.Error("session not remembered: its next turn starts anew", "err", err)
	}
}
