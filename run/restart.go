package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"penstock/backend"
	"penstock/internal/atomicfile"
	"penstock/outcome"
)

// Words are what a CLI is told.
type Words struct{ System, Prompt string }

// restartedNotice is the first event of a run whose CLI had forgotten its session.
const restartedNotice = "the CLI does not know this session any more: it was started anew, with the conversation as this request has it"

// Stages of a restart, as a checkpoint has them.
const (
	restartDue  = "due"  // the first process is gone, the second was not tried
	restartDone = "done" // the second one is, or was, about to be born
)

// forgotten takes the events of one line for which the CLI has refused its session
// before it did anything, where it can be started anew. It ends the process then,
// and nothing of what it said counts. Any other event but a Notice settles that
// it has the session, and lets readers in.
func (w *watcher) forgotten(events []backend.Event) bool {
	if w.fresh == nil {
		return false
	}
	for _, e := range events {
		if e.Kind == backend.Failed && e.Failure != nil && e.Failure.SessionUnknown {
			w.forgot = terminalOf(e)
			w.run.finish(false)
			return true
		}
	}
	for _, e := range events {
		if e.Kind != backend.Notice {
			w.settled()
			break
		}
	}
	return false
}

// settled is when the CLI can't be started anew any more.
func (w *watcher) settled() {
	w.fresh, w.spec.Fresh = nil, nil
	w.show()
}

// show lets readers in: the files are those that stay. It may be called again.
func (w *watcher) show() {
	if !isClosed(w.run.ready) {
		close(w.run.ready)
	}
}

// forgotAtExit looks at a process that has ended without a last word.
func (w *watcher) forgotAtExit() {
	if w.fresh == nil || w.forgot != nil || w.terminal != nil || w.tooMuch || w.run.spoiled.Load() {
		return
	}
	o, f := w.process.Outcome(), w.spec.Backend.Features()
	if o.Reason != "" || f.Exit == nil || !o.Exit.Known || o.Exit.Signal != 0 {
		return
	}
	if failure := f.Exit(o.Exit.Code, w.stderr()); failure != nil && failure.SessionUnknown {
		w.forgot = terminalOf(backend.Event{Kind: backend.Failed, Failure: failure})
	}
}

// errRestartEnded is a restart that the end of the run was faster than.
var errRestartEnded = errors.New("the run was ended before that")

// restart starts the CLI anew, told the whole conversation and without the session:
// in a fresh group, under the same id, slot, turn and deadline. False is that the
// run is over, and how is settled.
func (w *watcher) restart() bool {
	if w.forgot == nil {
		return false
	}
	why := *w.forgot
	err := w.again()
	if over := birth(err); over != nil {
		select {
		case <-over:
		case <-w.manager.quit:
		}
	}
	w.forgot = nil
	if err == nil {
		w.run.log.Info("session forgotten by its CLI: started anew", "session", w.spec.Session, "client", w.spec.Client)
		return true
	}
	if !errors.Is(err, errRestartEnded) {
		why.Message += "; it could not be started anew: " + err.Error()
	}
	w.terminal, w.refused, w.run.silent = &why, true, true
	return false
}

// again is one try; whatever fails, the run's own files are there to be concluded.
func (w *watcher) again() error {
	if err := w.awaitGone(); err != nil {
		return err
	}
	r, d, fresh := w.run, w.run.dir, *w.fresh
	if w.spec.Durable {
		w.will.Restart = restartDue
		if err := w.bequeath(); err != nil {
			return err
		}
	}
	known := w.session
	known.CLISession, known.Updated = "", time.Now()
	if err := w.manager.sessions.put(known, d.flush); err != nil {
		return err
	}
	s := w.spec
	s.Request.System, s.Request.Prompt, s.Request.Session = fresh.System, fresh.Prompt, ""
	if err := d.removeScratch(); err != nil {
		return err
	}
	if err := d.mkdir(tmpName); err != nil {
		return err
	}
	p, err := w.manager.prepare(d, s)
	defer func() { p.at.close() }()
	if err != nil {
		return err
	}
	// Not before: what can't be started anew keeps the output it has.
	if err := d.removeOutputs(); err != nil {
		return err
	}
	std, err := d.open(p.command)
	if err != nil {
		return err
	}
	defer std.close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	next := newWill(s, p)
	old := watcher{outputs: w.outputs, growth: w.growth, speaker: w.speaker}
	next.Restart, next.Fresh = restartDone, w.will.Fresh
	w.will, w.spec, w.adopted = next, s, false
	if err := w.open(d); err != nil {
		w.outputs, w.growth, w.speaker = old.outputs, old.growth, old.speaker
		return err
	}
	old.letGo()
	w.terminal, w.fresh, w.spec.Fresh = nil, nil, nil
	w.lost.Store(nil)
	r.restarted()
	err = w.bear(ctx, std, p)
	if errors.Is(err, context.Canceled) {
		return errRestartEnded
	}
	w.show()
	return err
}

// awaitGone waits until the group of the process that has ended is free to be made
// anew.
func (w *watcher) awaitGone() error {
	if w.run.reason() != "" {
		return errRestartEnded
	}
	if w.process == nil {
		return nil // of an earlier daemon
	}
	late := time.NewTimer(removeWait)
	defer late.Stop()
	select {
	case <-w.process.Gone():
	case <-w.run.stop:
		return errRestartEnded
	case <-w.manager.quit:
		return errRestartEnded
	case <-late.C:
		return errors.New("its group is still there")
	}
	if w.untidy {
		return errors.New("its scratch is still there")
	}
	return nil
}

// restarted notes in the record what the process to come is.
func (r *Run) restarted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.SessionRestarted, r.record.CLISession = true, ""
	r.record.State = Running
}

// removeOutputs makes room for those of another process.
func (d *directory) removeOutputs() error {
	for _, name := range []string{spoolName, stderrName} {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Names in the store of what a CLI that has forgotten its session is told.
const (
	freshPromptName = "fresh-prompt"
	freshSystemName = "fresh-system"
)

// saveFresh keeps it for the next daemon.
func (d *directory) saveFresh(f *Words) error {
	for name, text := range map[string]string{freshPromptName: f.Prompt, freshSystemName: f.System} {
		for _, p := range d.inStores(name) {
			if err := atomicfile.Replace(p, []byte(text), d.flush); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadFresh is nil where a run can't be started anew.
func (d *directory) loadFresh(w *will) (*Words, error) {
	if w.Fresh == nil || w.Restart == restartDone {
		return nil, nil
	}
	f := new(Words)
	for _, one := range []struct {
		name string
		long int64
		to   *string
	}{{freshPromptName, w.Fresh.Prompt, &f.Prompt}, {freshSystemName, w.Fresh.System, &f.System}} {
		data, err := readUpTo(d.inStore(one.name), one.long)
		if err == nil && int64(len(data)) != one.long {
			err = fmt.Errorf("%s: %d bytes instead of %d", d.inStore(one.name), len(data), one.long)
		}
		if err != nil {
			return nil, err
		}
		*one.to = string(data)
	}
	return f, nil
}

// dropFresh is for a run that has ended.
func (d *directory) dropFresh() error {
	var errs []error
	for _, name := range []string{freshPromptName, freshSystemName} {
		for _, p := range d.inStores(name) {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// renew completes the Spec of a run of an earlier daemon by what the configuration
// gives, so that its CLI can be started anew; false where it can't be.
func (m *Manager) renew(d *directory, s *Spec, l *will) bool {
	fresh, err := d.loadFresh(l)
	if err != nil {
		m.log.Warn("a CLI that has forgotten its session can't be started anew", "run", s.ID, "err", err)
	}
	if fresh == nil || m.o.Renew == nil {
		return false
	}
	now, ok := m.o.Renew(s.Backend.Name())
	if !ok {
		return false
	}
	s.Argv, s.Env, s.User, s.Home, s.HomeSeed, s.OpenCwd = now.Argv, now.Env, now.User, now.Home, now.HomeSeed, now.OpenCwd
	s.Request, s.Fresh = l.Request, fresh
	d.user = s.User
	return true
}

// revive is for a run of an earlier daemon whose CLI has forgotten its session and
// is gone, and that has not been started anew: nil for any other.
func (m *Manager) revive(d *directory, record Record, l *will, b backend.Backend) *Run {
	if l == nil || b == nil || l.Past || record.State == Finished {
		return nil
	}
	s := l.spec(record, b)
	if !m.renew(d, &s, l) {
		return nil
	}
	word := &outcome.Terminal{Failure: outcome.CLIError, Message: "the CLI does not know the session any more"}
	if l.Restart != restartDue {
		if word = m.lastUnknown(d, l, b); word == nil {
			return nil
		}
	}
	release, ok := m.turns.try(sessionKey(l.Session.Client, l.Session.Session))
	if !ok {
		return nil
	}
	d.flush = m.o.flush
	record.State, record.Durable = Ending, true
	record.Adopted++
	r := newRun(record, m.log)
	r.stall, r.fingerprint, r.dir = l.Stall, l.Fingerprint, d
	w := &watcher{run: r, manager: m, spec: s, will: l, session: l.Session, release: release, fresh: s.Fresh, forgot: word, adopted: true}
	gone := m.o.Adopted(record)
	w.gone = func() { gone(r.Record()) }
	m.revived = append(m.revived, w)
	return r
}

// lastUnknown is the word of an output, or of stderr, that the session is unknown.
func (m *Manager) lastUnknown(d *directory, l *will, b backend.Backend) *outcome.Terminal {
	word, unknown := m.lastWord(d, l, b)
	if unknown {
		return word
	}
	exit := b.Features().Exit
	if word != nil || exit == nil {
		return nil
	}
	f, info, err := openPlain(d.file(stderrName))
	if err != nil || !isInode(f, l.Stderr) {
		return nil
	}
	defer f.Close()
	tail, err := readTail(f, info.Size(), stderrTail)
	if err != nil {
		return nil
	}
	if failure := exit(-1, tail); failure != nil && failure.SessionUnknown {
		return terminalOf(backend.Event{Kind: backend.Failed, Failure: failure})
	}
	return nil
}
