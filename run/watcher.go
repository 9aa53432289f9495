package run

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/spawn"
)

// watcher is the daemon's own reader of a live run, the one whose machine is
// listened to: it speaks to the CLI, holds the output limits and sees the end.
type watcher struct {
	run     *Run
	manager *Manager
	spec    Spec
	will    *will
	session Session // zero without one
	release func()  // the session's turn
	gone    func()

	outputs *outputs
	growth  growth
	speaker *speaker
	process *spawn.Process
	spawned time.Time

	parse    *parse
	spool    spoolFile
	terminal *outcome.Terminal
	heard    bool // an event came
	adopted  bool // from an earlier daemon
	tooMuch  bool // the output cap or the line cap was passed
	lastWord bool // terminal is the daemon's: the output was spoiled
	// wordAfterFull says that the disk had been full before terminal was read, and
	// wasn't any more.
	wordAfterFull bool
	lost          atomic.Pointer[string] // what tidy knows of output that can't be trusted; nil is nothing

	fresh   *Words            // what to tell a CLI that has forgotten its session; nil once it has not
	forgot  *outcome.Terminal // its word that it has
	refused bool              // and it could not be started anew
	untidy  bool              // tidy is still at it; for who has seen process.Gone
}

// open takes hold of the run's files before the child can write to them.
func (w *watcher) open(d *directory) (err error) {
	if w.outputs, err = d.openOutputs(); err != nil {
		return err
	}
	w.growth = watchGrowth(w.manager.notifier, &w.run.grown, w.run.log, d.file(spoolName), d.file(stderrName))
	if w.will.Talks {
		if err := w.openSpeaker(d); err != nil {
			return err
		}
	}
	w.spool = spoolFile{file: w.outputs.spool, limit: -1, most: w.spec.OutputMax}
	if w.spec.Durable && !w.adopted {
		w.will.Spool, _ = inodeOf(w.outputs.spool)
		w.will.Stderr, _ = inodeOf(w.outputs.stderr)
	}
	w.session = w.will.Session
	info, err := w.outputs.spool.Stat()
	if err != nil {
		return err
	}
	w.run.hold(d, w.outputs, newReplay(w.spec.Backend, w.will), info)
	w.parse = newParse(w.spec.Backend.Framing(), w.spec.LineMax, w.spec.Backend.Machine(w.will.Request), &w.run.replay.buffers)
	w.parse.from(w.outputs.spool, &w.run.replay.lines)
	w.parse.restarted = w.run.replay.restarted
	return nil
}

func (w *watcher) openSpeaker(d *directory) (err error) {
	var told *said
	if w.spec.Durable {
		if told, err = openSaid(d.inStore(saidName), !w.adopted); err != nil {
			return err
		}
	}
	w.speaker, err = newSpeaker(d.file(stdinName), told)
	return err
}

// letGo releases all that open took.
func (w *watcher) letGo() {
	if w.growth.stop != nil {
		w.growth.stop()
	}
	w.speaker.close()
	if w.outputs != nil {
		w.outputs.close()
	}
}

// tidyMax bounds what a file system or a child's million files may cost the
// end of a run; the rest is done in the background.
const tidyMax = 10 * time.Second

// tidy is for the moment when the run's group is empty and not yet removed.
func (w *watcher) tidy(o outcome.Outcome) {
	log, dir, outputs := w.run.log, w.run.dir, w.outputs
	if !within(tidyMax, func() {
		// First: what the run itself filled the disk with is about to go.
		if why := dir.refusesWrites(); why != "" {
			w.run.short(why)
		}
		if err := dir.removeScratch(); err != nil {
			log.Warn("scratch not removed", "err", err)
		}
		if err := outputs.letGo(); err != nil {
			log.Warn("output not written back (hint: check the disk of the state directory)", "err", err)
			if why := diskTrouble(err); why != "" {
				w.lost.Store(&why)
			}
		}
		if err := dir.noteEnd(o); err != nil {
			log.Warn("the end is not noted for a later daemon", "err", err)
		}
	}) {
		w.untidy = true
		log.Warn("scratch not removed yet: the run ends without it", "after", tidyMax)
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

// begin lets the process be born and watches it from then on.
func (w *watcher) begin(ctx context.Context, std stdio, p plan) error {
	if err := w.bear(ctx, std, p); err != nil {
		return err
	}
	if w.fresh == nil {
		w.show() // else readers wait until the CLI has its session
	}
	w.manager.started(w.run, time.Since(w.spawned))
	go w.watch()
	return nil
}

// bear lets the process be born. The record is on disk first: what can't be
// recorded is not started.
func (w *watcher) bear(ctx context.Context, std stdio, p plan) error {
	r, s := w.run, w.spec
	if r.reason() != "" {
		return context.Canceled
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	record := r.starting(time.Now(), p.session.CLISession)
	w.will.Record = record
	steps := []func() error{w.bequeath, func() error { return r.dir.save(record) }, r.dir.settle}
	if w.will.Restart == restartDone {
		// The checkpoint last: until then the next daemon may try it, and from then on
		// it can't know whether the process was born.
		steps = append(steps[1:], steps[0])
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	w.spawned = time.Now()
	process, err := w.manager.spawner.Start(ctx, spawn.Command{
		ID: s.ID, Argv: slices.Concat(s.Argv, p.command.Argv), Env: p.env, Dir: p.at.cwd, Held: p.at.held,
		Stdin: std.stdin, Stdout: std.stdout, Stderr: std.stderr,
		Limits: s.Limits, User: s.User.credential(), SoftEnd: p.command.SoftEnd, Grace: s.Grace,
		BeforeRemove: w.tidy,
	})
	if err != nil {
		return err
	}
	w.process = process
	w.spec.Request.Prompt, w.spec.Request.System = "", "" // they have been written; a restart needs the rest
	w.remember("")
	r.born(process)
	return nil
}

// bequeath writes the will of a durable run.
func (w *watcher) bequeath() error {
	if !w.spec.Durable {
		return nil
	}
	return w.run.dir.saveWill(w.will)
}

// noteLeader tells the next daemon who the first process is. One that doesn't hear
// of it asks the group.
func (w *watcher) noteLeader() {
	pid := w.process.PID()
	if pid == 0 || pid == w.will.Leader {
		return
	}
	w.will.Leader = pid
	if err := w.bequeath(); err != nil {
		w.run.log.Warn("the leader is not noted: a later daemon asks its group", "err", err)
	}
}

// watch follows the run from its birth to the removal of its group.
func (w *watcher) watch() {
	deadline := w.deadline()
	for {
		if w.process != nil && w.attend() {
			deadline()
			w.depart()
			return
		}
		if !w.restart() {
			break
		}
	}
	deadline()
	w.conclude()
	if w.process != nil {
		select {
		case <-w.process.Gone():
			w.gone()
		case <-w.manager.quit:
		}
	} else {
		w.gone()
	}
	w.run.retired = time.Now()
	close(w.run.done)
	w.manager.finished(w.run.Record().OutputBytes)
}

// attend follows one process to the end of its output; left is that it lives on
// without this daemon.
func (w *watcher) attend() (left bool) {
	w.noteLeader()
	w.speaker.say(w.parse.machine.Open())
	for {
		grown := w.run.grown.wait()
		if isClosed(w.run.left) {
			return true
		}
		ended := isClosed(w.process.Ended())
		if w.advance(ended) {
			continue
		}
		if ended {
			w.forgotAtExit()
			return false
		}
		select {
		case <-grown:
		case <-w.run.left:
		case <-w.process.Ended():
		}
	}
}

// depart leaves a run that lives on as a killed daemon would: its will is
// written, and said tells what its CLI was told.
func (w *watcher) depart() {
	w.letGo()
	w.release()
	close(w.run.done)
}

// deadline returns what takes the timer back.
func (w *watcher) deadline() (stop func() bool) {
	if w.spec.Deadline.IsZero() {
		return func() bool { return true }
	}
	return time.AfterFunc(time.Until(w.spec.Deadline), func() { w.run.End(outcome.Timeout) }).Stop
}

// advance parses one frame or reads once; false when there is nothing to do
// until the spool grows, or when all is read.
func (w *watcher) advance(ended bool) bool {
	if w.run.spoiled.Load() {
		if !w.lastWord {
			w.verify()
			w.fail(truncatedHint)
			w.run.finish(false)
		}
		return false
	}
	if w.tooMuch {
		// Why it ended is known; what is left to parse could be millions of lines.
		w.measure(ended)
		return false
	}
	if events, writes, ok := w.parse.step(); ok {
		w.speaker.say(writes)
		if w.forgot != nil || w.forgotten(events) {
			return true // of a process that is being ended
		}
		for _, e := range events {
			w.hear(e)
		}
		return true
	}
	if w.parse.frames.over {
		w.overflow()
	}
	if w.parse.closed {
		return false
	}
	w.measure(ended)
	n, err := w.parse.frames.fill(&w.spool)
	switch {
	case errors.Is(err, ErrSpoiled):
		w.run.spoil()
		return true
	case err != nil:
		w.run.log.Error("spool not readable", "err", err)
	}
	if n == 0 && ended {
		w.parse.frames.end()
	}
	return n > 0 || ended
}

// measure holds the cap on what the run writes. Once ended, the sizes are final.
func (w *watcher) measure(ended bool) {
	if ended && w.spool.limit >= 0 {
		return
	}
	spool, stderr, err := w.outputs.sizes()
	if err != nil {
		w.run.log.Error("outputs not measured", "err", err)
	}
	if ended {
		w.spool.limit = spool
	}
	w.run.mu.Lock()
	w.run.final = spool
	w.run.record.OutputBytes = spool + stderr
	w.run.mu.Unlock()
	if spool+stderr > w.spec.OutputMax {
		w.overflow()
	}
}

func (w *watcher) overflow() {
	if !w.tooMuch {
		w.tooMuch = true
		w.run.End(outcome.OutputLimit)
	}
}

// hear takes from an event what the daemon itself must know.
func (w *watcher) hear(e backend.Event) {
	if !w.heard && !w.adopted {
		w.heard = true
		w.manager.observer.FirstOutput(w.run.Record(), time.Since(w.spawned))
	}
	if e.Kind == backend.Session {
		w.remember(e.Session)
		return
	}
	if t := terminalOf(e); t != nil && w.terminal == nil {
		w.terminal = t
		w.wordAfterFull = w.run.shortage.Load() != nil && w.run.dir.refusesWrites() == ""
		w.run.finish(w.will.Settle)
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

// remember keeps the session at once: the next turn must find it even when
// this one is killed. An empty id keeps what is known.
func (w *watcher) remember(cliSession string) {
	if cliSession != "" {
		w.run.setCLISession(cliSession)
	}
	if w.session.Session == "" || (cliSession != "" && cliSession == w.session.CLISession) {
		return
	}
	if cliSession != "" {
		w.session.CLISession = cliSession
	}
	w.session.Updated = time.Now()
	if err := w.manager.sessions.put(w.session, w.run.dir.flush); err != nil {
		w.run.log.Error("session not remembered: its next turn starts anew", "err", err)
	}
}
