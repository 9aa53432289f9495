package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
)

// conclude makes the verdict and the record final, frees what the run held and
// only then lets Ended be seen.
func (s *supervisor) conclude() {
	r := s.run
	ended := outcome.Outcome{Exit: outcome.Exit{Code: -1}}
	if s.child.process != nil {
		ended = s.child.process.Outcome()
	}
	switch {
	case !s.turn.restartFailed:
		s.checkSpool()
	case ended.Reason == "":
		ended.Reason = r.reason() // it came between two processes
	}
	if s.facts.overOutput && ended.Reason == "" {
		// A leader that wrote too much and left before it could be ended.
		ended.Reason = outcome.OutputLimit
	}
	stderr := s.stderr()
	if s.facts.terminal == nil && s.child.process != nil {
		s.facts.terminal = exitFailure(s.spec.Backend.Features(), ended, stderr)
	}
	verdict := s.decide(ended, stderr)
	if verdict.Cause == outcome.CLIError && !strings.Contains(verdict.Message, stateDirectory) {
		if why := refusesWrites(r.dir); why != "" {
			verdict.Message += "; it may be for want of the disk: " + why
		}
	}
	s.trim()
	record, chain := r.conclude(ended, verdict, s.facts.terminal)
	// The record last: with it the run is over for the next daemon, too.
	s.checkpoint.ForgetPrompt()
	s.checkpoint.Final, s.checkpoint.Tampered = &s.facts.size, s.run.spool.Tampered()
	if err := s.saveCheckpoint(); err != nil {
		r.log.Warn("checkpoint not saved", "err", err)
	}
	save := func() error { return s.manager.saveEnd(r.dir, record, s.checkpoint) }
	if err := save(); err != nil {
		r.log.Error("record not saved: it is kept in memory for now", "again_in", pruneEvery, "err", err)
		s.manager.saveLater(r, save)
	}
	if s.checkpoint.Fresh != nil && r.dir.Flush != nil {
		if err := r.dir.DropFresh(); err != nil {
			r.log.Warn("scratch not removed", "err", err)
		}
	}
	s.run.spool.Publish()
	s.files.release()
	s.releaseImage()
	s.dropStatus()
	s.endTurn(record, chain)
	s.hooks.unlockSession()
	s.manager.concluded(record, ended)
	level := slog.LevelDebug // the line of its request tells
	switch {
	case record.Warning != "":
		level = slog.LevelWarn
	case record.Durable, record.Cause == outcome.ClientGone, record.Answered != nil:
		level = slog.LevelInfo
	}
	if ctx := context.Background(); r.log.Enabled(ctx, level) {
		r.log.Log(ctx, level, "run ended", record.LogAttrs(ended)...)
	}
	r.spool.Finish(s.facts.size, record.Cause != outcome.Completed)
	r.announce()
	if ended.Err != nil || ended.Leaked {
		r.log.Warn("teardown", "leaked", ended.Leaked, "err", ended.Err)
	}
}

// Refuse records a run that was promised to its client and never started, as one that has ended
// by c's Cause and Message: with what was asked, and without output. It is durable. Of c the
// rest is who asked for what; saved is false where the record can't be written for now, and is
// kept in memory as any other. The error wraps ErrExists.
func (m *Manager) Refuse(c Record, fingerprint, asked []byte) (r *Run, saved bool, err error) {
	now := time.Now()
	c.Object, c.State, c.Created, c.Ended, c.Durable = store.Object, Finished, now, &now, true
	d := m.dirFor(Spec{ID: c.ID, Durable: true})
	r = newRun(finished, c, m.log)
	r.dir, r.fingerprint, r.verdict = d, fingerprint, outcome.Verdict{Cause: c.Cause, Message: c.Message}
	close(r.stop)
	if err := m.registerRun(r); err != nil {
		return nil, false, err
	}
	save := func() error { return m.saveRefusal(d, c, fingerprint, asked) }
	if err := m.launchWithRoom(save); err != nil {
		r.log.Error("record not saved: it is kept in memory for now", "again_in", pruneEvery, "err", err)
		m.saveLater(r, save)
	} else {
		saved = true
	}
	r.log.Info("run not started", "client", c.Client, "backend", c.Backend, "model", c.Model, "cause", string(c.Cause), "message", c.Message)
	r.announce()
	m.keep(r)
	return r, saved, nil
}

// saveRefusal leaves nothing where it fails.
func (m *Manager) saveRefusal(d *store.Dir, c Record, fingerprint, asked []byte) (err error) {
	if err := d.Make(nil); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Remove())
		}
	}()
	if len(asked) > 0 {
		if err := d.SaveAsked(asked); err != nil {
			return err
		}
	}
	cp := &store.Checkpoint{Record: c, Fingerprint: fingerprint, Silent: true, Asked: d.Asked}
	for _, step := range []func() error{
		func() error { return d.SaveCheckpoint(cp) }, d.RemoveScratch, d.FlushNames,
		func() error { return m.saveEnd(d, c, cp) }, // the record last: with it the run is over
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// decide is Decide with all that is known of the run beside o.
func (s *supervisor) decide(o outcome.Outcome, stderr string) outcome.Verdict {
	facts := outcome.Facts{
		Outcome: o, Terminal: s.facts.terminal, Stderr: stderr,
		Limits: s.spec.Limits, PlainExit: s.spec.Backend.Features().PlainExit, Unread: isOpaque(s.spec.Backend),
		Incomplete: s.incomplete(),
	}
	if o.Receipt.OOMAt == cgroup.OOMRuns {
		facts.MemoryFiles = spawn.MemoryFiles()
	}
	verdict := outcome.Decide(facts)
	if (verdict.Cause == outcome.Completed || verdict.Cause == outcome.Killed) && !isClosed(s.run.answered) {
		facts.ManagerStops = s.manager.isStopped()
		verdict = outcome.Decide(facts)
	}
	return verdict
}

// isStopped tells whether the service manager is ending the runs' processes, too. Of
// one that doesn't answer in time, that is taken for granted where it may have asked
// the daemon to end with them.
func (m *Manager) isStopped() bool {
	stops, err := m.o.stopping()
	if err == nil {
		return stops
	}
	m.log.Warn("the service manager doesn't say whether it ends the runs' processes, too", "daemon_stops", m.o.Stop.Err() != nil, "err", err)
	return m.o.Stop.Err() != nil && errors.Is(err, context.DeadlineExceeded)
}

// exitFailure is what the exit of a CLI that left no last word says, to its backend.
func exitFailure(f backend.Features, o outcome.Outcome, stderr string) *outcome.Terminal {
	if f.Exit == nil || !o.Exit.Known || o.Exit.Signal != 0 {
		return nil
	}
	failure := f.Exit(o.Exit.Code, stderr)
	if failure == nil {
		return nil
	}
	return terminalOf(backend.Event{Kind: backend.Failed, Failure: failure})
}

func (s *supervisor) stderr() string {
	if s.files.outputs == nil {
		return ""
	}
	tail, err := s.files.outputs.StderrTail()
	if err != nil {
		s.run.log.Warn("stderr not readable", "err", err)
	}
	return tail
}

// answerAfter is how long the tree may take to be gone after its CLI's last word before its
// clients are told without it. Most are gone by then, and all is known of them.
const answerAfter = 5 * time.Millisecond

// answerDue answers when it is time, and gives what to wait on until then; nil is nothing.
func (s *supervisor) answerDue(ended bool) <-chan time.Time {
	left := time.Until(s.facts.answerAt)
	switch {
	case s.facts.answerAt.IsZero():
		return nil
	case left > 0:
		return time.After(left)
	}
	s.facts.answerAt = time.Time{}
	if !ended {
		s.answer()
	}
	return nil
}

// answer settles the verdict on a CLI that was done and takes its time to be gone: the
// answer is whole, and its clients need not wait. All that could speak against it is looked
// at: what the kernel has counted in the group, the output's file, the disk, the service
// manager. Anything but a completed run is left to conclude. What is told here is on the
// disk before, as far as the run's end would be, so that no later daemon says otherwise.
func (s *supervisor) answer() {
	if s.facts.overOutput || s.run.spool.Tampered() || !s.run.spool.InPlace() {
		return
	}
	receipt, err := s.child.process.Receipt()
	if err != nil {
		return // its group goes just now
	}
	verdict := s.decide(outcome.Outcome{Exit: worstExit, Reason: s.run.reason(), Receipt: receipt}, "")
	if verdict.Cause != outcome.Completed {
		return
	}
	record := s.run.Record()
	at := time.Now()
	record.Cause, record.Message, record.Finish = verdict.Cause, verdict.Message, s.facts.terminal.Finish
	record.Answered, record.Receipt, record.EnforcedBy = &at, &receipt, receipt.EnforcedBy
	if err := s.saveAnswer(record); err != nil {
		s.run.log.Warn("the answer is not told before the run has ended: it can't be recorded", "err", err)
		return
	}
	s.run.answer(verdict, record)
}

// worstExit is how a CLI may still end: what is certain holds whatever its status will be.
var worstExit = outcome.Exit{Known: true, Code: 1}

// saveAnswer records an answer that is about to be told.
func (s *supervisor) saveAnswer(r Record) error {
	flushed := make(chan error, 1)
	if !within(cleanUpMax, func() {
		disk := fileSystemOf(filepath.Dir(s.run.dir.Path))
		flushed <- s.flushOutputs(&disk)
	}) {
		return fmt.Errorf("its output is not written back after %s", cleanUpMax)
	}
	if err := <-flushed; err != nil {
		return err
	}
	return s.manager.saveStart(s.run.dir, r)
}

// answer makes the verdict certain before the run has ended.
func (r *Run) answer(v outcome.Verdict, c Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verdict = v
	r.record.Cause, r.record.Message, r.record.Finish = c.Cause, c.Message, c.Finish
	r.record.Answered, r.record.Receipt, r.record.EnforcedBy = c.Answered, c.Receipt, c.EnforcedBy
	close(r.answered)
}

// warningOf is what an end means that comes after the answer, and isn't a good one.
func warningOf(v outcome.Verdict) string {
	const saved = "what its CLI saved after the answer may be incomplete: "
	switch v.Cause {
	case outcome.Completed:
		return ""
	case outcome.Lost:
		return saved + "the daemon ended before it did"
	}
	return saved + v.Message
}
