package run

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/outcome"
	"penstock/spawn"
)

// conclude makes the verdict and the record final, frees what the run held and
// only then lets Ended be seen.
func (w *watcher) conclude() {
	r := w.run
	ended := outcome.Outcome{Exit: outcome.Exit{Code: -1}}
	if w.process != nil {
		ended = w.process.Outcome()
	}
	switch {
	case !w.refused:
		w.verify()
	case ended.Reason == "":
		ended.Reason = r.reason() // it came between two processes
	}
	if w.tooMuch && ended.Reason == "" {
		// A leader that wrote too much and left before it could be ended.
		ended.Reason = outcome.OutputLimit
	}
	stderr := w.stderr()
	if w.terminal == nil && w.process != nil {
		w.terminal = exitWord(w.spec.Backend.Features(), ended, stderr)
	}
	facts := outcome.Facts{
		Outcome: ended, Terminal: w.terminal, Stderr: stderr,
		Limits: w.spec.Limits, PlainExit: w.spec.Backend.Features().PlainExit, Unread: isMute(w.spec.Backend),
		Incomplete: w.cutShort(),
	}
	if ended.Receipt.OOMAt == cgroup.OOMRuns {
		facts.MemoryFiles = spawn.MemoryFiles()
	}
	verdict := outcome.Decide(facts)
	if verdict.Cause == outcome.Completed || verdict.Cause == outcome.Killed {
		facts.ManagerStops = w.manager.isStopped()
		verdict = outcome.Decide(facts)
	}
	if verdict.Cause == outcome.CLIError && !strings.Contains(verdict.Message, stateDirectory) {
		if why := r.dir.refusesWrites(); why != "" {
			verdict.Message += "; it may be for want of the disk: " + why
		}
	}
	w.trim()
	record := r.conclude(ended, verdict, w.terminal)
	// The record last: with it the run is over for the next daemon, too.
	w.will.forgetPrompt()
	final := r.finalSize()
	w.will.Final = &final
	if err := w.bequeath(); err != nil {
		r.log.Warn("checkpoint not saved", "err", err)
	}
	if err := r.dir.save(record); err != nil {
		r.log.Error("record not saved: it is kept in memory for now", "again_in", pruneEvery, "err", err)
		r.unsaved.Store(true)
	}
	if w.will.Fresh != nil && r.dir.flush != nil {
		if err := r.dir.dropFresh(); err != nil {
			r.log.Warn("scratch not removed", "err", err)
		}
	}
	w.show()
	w.letGo()
	w.release()
	w.manager.concluded(record, ended)
	level := slog.LevelDebug // the line of its request tells
	if record.Durable || record.Cause == outcome.ClientGone {
		level = slog.LevelInfo
	}
	r.log.Log(context.Background(), level, "run ended", record.told(ended)...)
	close(r.ended)
	r.grown.beat()
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

// exitWord is what the exit of a CLI that left no last word says, to its adapter.
func exitWord(f backend.Features, o outcome.Outcome, stderr string) *outcome.Terminal {
	if f.Exit == nil || !o.Exit.Known || o.Exit.Signal != 0 {
		return nil
	}
	failure := f.Exit(o.Exit.Code, stderr)
	if failure == nil {
		return nil
	}
	return terminalOf(backend.Event{Kind: backend.Failed, Failure: failure})
}

// told is what the log has of a run's end, at info of one that may end with no
// request left to be logged.
func (r Record) told(o outcome.Outcome) []any {
	told := []any{"client", r.Client, "backend", r.Backend, "model", r.Model, "cause", string(r.Cause)}
	if r.Started != nil && r.Ended != nil {
		told = append(told, "seconds", r.Ended.Sub(*r.Started).Round(time.Millisecond).Seconds())
	}
	if r.Exit != nil {
		told = append(told, "exit_code", *r.Exit)
	}
	if r.Signal != "" {
		told = append(told, "signal", r.Signal)
	}
	return append(told, "output_bytes", r.OutputBytes, "processes_after_leader", r.Survived,
		"spawn_seconds", o.Spawn.Seconds(), "teardown_seconds", o.Teardown.Seconds(), "leaked", o.Leaked, "receipt", *r.Receipt)
}

func (w *watcher) stderr() string {
	if w.outputs == nil {
		return ""
	}
	_, size, err := w.outputs.sizes()
	if err != nil {
		return ""
	}
	tail, err := readTail(w.outputs.stderr, size, stderrTail)
	if err != nil {
		w.run.log.Warn("stderr not readable", "err", err)
	}
	return tail
}

// starting is the record as it goes to disk before the birth: a daemon that
// dies in between must find the run.
func (r *Run) starting(at time.Time, cliSession string) Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.Started, r.record.CLISession = &at, cliSession
	record := r.record
	record.State = Running
	return record
}

func (r *Run) conclude(o outcome.Outcome, v outcome.Verdict, t *outcome.Terminal) Record {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verdict = v
	r.process = nil // it holds the prompt and the environment; the run is kept for long
	c := &r.record
	c.State, c.Cause, c.Message = Finished, v.Cause, v.Message
	c.Ended = &now
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
	if t != nil && v.Cause == outcome.Completed {
		c.Finish = t.Finish
	}
	return *c
}

// abort finishes a run that was never started; Ended is not kept from those
// who already wait for it.
func (r *Run) abort(err error) {
	verdict := outcome.Verdict{Cause: abortCause(err), Message: err.Error()}
	now := time.Now()
	r.mu.Lock()
	r.verdict = verdict
	r.record.State, r.record.Cause, r.record.Message = Finished, verdict.Cause, verdict.Message
	r.record.Started, r.record.Ended = nil, &now
	r.mu.Unlock()
	close(r.ready)
	close(r.ended)
	close(r.done)
	r.grown.beat()
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
