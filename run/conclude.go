package run

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/outcome"
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
	facts := outcome.Facts{
		Outcome: ended, Terminal: s.facts.terminal, Stderr: stderr,
		Limits: s.spec.Limits, PlainExit: s.spec.Backend.Features().PlainExit, Unread: isOpaque(s.spec.Backend),
		Incomplete: s.incomplete(),
	}
	if ended.Receipt.OOMAt == cgroup.OOMRuns {
		facts.MemoryFiles = spawn.MemoryFiles()
	}
	verdict := outcome.Decide(facts)
	if verdict.Cause == outcome.Completed || verdict.Cause == outcome.Killed {
		facts.ManagerStops = s.manager.isStopped()
		verdict = outcome.Decide(facts)
	}
	if verdict.Cause == outcome.CLIError && !strings.Contains(verdict.Message, stateDirectory) {
		if why := refusesWrites(r.dir); why != "" {
			verdict.Message += "; it may be for want of the disk: " + why
		}
	}
	s.trim()
	record := r.conclude(ended, verdict, s.facts.terminal)
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
	s.hooks.unlockSession()
	s.manager.concluded(record, ended)
	level := slog.LevelDebug // the line of its request tells
	if record.Durable || record.Cause == outcome.ClientGone {
		level = slog.LevelInfo
	}
	if ctx := context.Background(); r.log.Enabled(ctx, level) {
		r.log.Log(ctx, level, "run ended", record.LogAttrs(ended)...)
	}
	r.spool.Finish(s.facts.size, verdict.Cause != outcome.Completed)
	r.announce()
	if ended.Err != nil || ended.Leaked {
		r.log.Warn("teardown", "leaked", ended.Leaked, "err", ended.Err)
	}
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
