package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"penstock/backend"
	"penstock/run/inimage"
	"penstock/run/sessions"
	"penstock/run/store"
	"penstock/spawn"
)

const (
	defaultOutputMax = 64 << 20
	defaultLineMax   = 16 << 20
)

// ErrExists is wrapped when a run of that id is known already.
var ErrExists = errors.New("a run of this id exists")

// ErrNotDurable is wrapped when this daemon can't keep its runs from what it must
// believe later of a durable one.
var ErrNotDurable = errors.New("no durable runs on this host")

// Start starts one run. With Spec.Session and no Spec.SessionLock it first waits for
// the session's lock, under ctx and the deadline: an error that wraps ctx's then
// says that nothing was started. A SessionLock given is Start's to release from the
// call on, also when it fails. After that the run is on its own: only End, its limits
// and the manager's end end it. A failed start leaves nothing behind.
// Errors: *spawn.StartError, *SessionError, ErrExists, ErrNotDurable, ctx's own.
func (m *Manager) Start(ctx context.Context, s Spec) (*Run, error) {
	onGone := s.OnGone // of s the run keeps no second copy as long as it lives
	gone := sync.OnceFunc(func() {
		if onGone != nil {
			onGone()
		}
	})
	r, err := m.start(ctx, s, gone)
	if err != nil {
		s.SessionLock.Release()
		m.afterStart(err, gone)
		return nil, err
	}
	return r, nil
}

// pendingStart is closed when the start that err tells of is over; nil is over already.
func pendingStart(err error) <-chan struct{} {
	var start *spawn.StartError
	if !errors.As(err, &start) {
		return nil
	}
	return start.Gone
}

// afterStart calls gone when no process can come to life any more.
func (m *Manager) afterStart(err error, gone func()) {
	over := pendingStart(err)
	if over == nil || isClosed(over) {
		gone()
		return
	}
	go func() {
		select {
		case <-over:
			gone()
		case <-m.quit:
		}
	}()
}

func (m *Manager) start(ctx context.Context, s Spec, gone func()) (*Run, error) {
	if err := s.complete(); err != nil {
		return nil, err
	}
	if s.Durable && m.o.NotDurable != nil {
		return nil, fmt.Errorf("run %s: %w: %w", s.ID, ErrNotDurable, m.o.NotDurable)
	}
	r, err := m.register(s)
	if err != nil {
		return nil, err
	}
	if !s.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, s.Deadline)
		defer cancel()
	}
	release := func() {}
	switch {
	case s.SessionLock != nil:
		release = s.SessionLock.Release
	case s.Session != "":
		release, err = m.sessionLocks.Acquire(ctx, r.stop, sessions.Key(s.Client, s.Session), nil)
	}
	if err == nil {
		r.begin()
		err = m.launchWithRoom(func() error { return m.launch(ctx, r, s, release, gone) })
		if err != nil {
			release()
		}
	}
	if err == nil {
		return r, nil
	}
	if why := r.reason(); why != "" && errors.Is(err, context.Canceled) {
		err = &spawn.StartError{Cause: why, Err: fmt.Errorf("run %s: %s before it was started", r.id, why), Gone: pendingStart(err)}
	} else if pendingStart(err) == nil && ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		err = fmt.Errorf("run %s: not started: %w", r.id, ctx.Err())
	}
	err = hostError(err, r.log)
	m.unregister(r, err)
	return nil, err
}

// isRoot tells whether its processes are.
func (s *Spec) isRoot() bool {
	return s.User == nil && os.Geteuid() == 0 || s.User != nil && s.User.UID == 0
}

// complete fills what may be left out and refuses what can't be.
func (s *Spec) complete() error {
	if s.ID == "" {
		s.ID = "run_" + ulid.Make().String()
	}
	if err := store.CheckID(s.ID); err != nil {
		return err
	}
	if s.Backend == nil || len(s.Argv) == 0 {
		return fmt.Errorf("run %s: no backend or no program given", s.ID)
	}
	if s.Cwd != "" && !filepath.IsAbs(s.Cwd) {
		return fmt.Errorf("run %s: cwd %q: not an absolute path", s.ID, s.Cwd)
	}
	if s.SessionLock != nil && s.SessionLock.key != sessions.Key(s.Client, s.Session) {
		return fmt.Errorf("run %s: the turn given is of another session", s.ID)
	}
	if len(s.Asked) > store.AskedMax {
		return fmt.Errorf("run %s: %d bytes asked: more than the %d that are kept", s.ID, len(s.Asked), store.AskedMax)
	}
	if s.OutputMax <= 0 {
		s.OutputMax = defaultOutputMax
	}
	if s.LineMax <= 0 {
		s.LineMax = defaultLineMax
	}
	return nil
}

// launch makes the run's files and starts its process.
func (m *Manager) launch(ctx context.Context, r *Run, s Spec, release, gone func()) (err error) {
	sup := &supervisor{run: r, manager: m, spec: s, hooks: hooks{unlockSession: release, onGone: gone}}
	if err := sup.holdImage(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			sup.releaseImage()
			sup.dropStatus()
		}
	}()
	if s.User != nil {
		if err := m.state.LetOthersPass(); err != nil {
			return err
		}
	}
	disk := fileSystemOf(m.state.Path)
	if err := disk.full(s.isRoot()); err != nil {
		return fmt.Errorf("run %s: %s: %w", s.ID, m.state.Path, err)
	}
	dir := m.dirFor(s)
	if err := dir.Make(s.User); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("run %s: %w", s.ID, ErrExists)
	} else if err != nil {
		return err
	}
	var p plan
	defer func() {
		p.close()
		if err != nil {
			sup.files.release()
			r.dir = nil
			r.spool.Silence()
			err = errors.Join(err, sup.turn.undo(), dir.Remove(), m.forgetStart(s, dir), m.forgetDiscard(s.ID), p.dir.remove())
		}
	}()
	if len(s.Asked) > 0 {
		if err := dir.SaveAsked(s.Asked); err != nil {
			return err
		}
	}
	sup.spec.Asked = nil
	if s.Discard {
		if err := m.beginDiscard(dir, s.ID); err != nil {
			return err
		}
	}
	if p, err = sup.prepare(dir, s); err != nil {
		return err
	}
	std, err := dir.OpenStdio(p.command)
	if err != nil {
		return err
	}
	defer std.Close()
	sup.checkpoint = newCheckpoint(s, p)
	sup.checkpoint.Asked = dir.Asked
	if p.session.CLISession != "" && s.Fresh != nil {
		sup.turn.fresh = s.Fresh
		sup.checkpoint.Fresh = store.LengthOf(s.Fresh)
		if s.Durable {
			if err := dir.SaveFresh(s.Fresh); err != nil {
				return err
			}
		}
	}
	sup.spec.Fresh = nil
	if err := sup.open(dir); err != nil {
		return err
	}
	return sup.launch(ctx, std, p)
}

// launch starts the process and supervises it from then on.
func (s *supervisor) launch(ctx context.Context, std store.Stdio, p plan) error {
	if err := s.startProcess(ctx, std, p); err != nil {
		return err
	}
	if s.turn.fresh == nil {
		s.run.spool.Publish() // else readers wait until the CLI has its session
	}
	s.manager.started(s.run, time.Since(s.child.started))
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
	if spec.Image != nil && p.entry == nil { // never the host's file system in its place
		return fmt.Errorf("run %s: image %s: not entered", spec.ID, spec.Image.Name)
	}
	record := r.toRecord(time.Now(), p.session.CLISession)
	s.checkpoint.Record = record
	steps := []func() error{s.saveCheckpoint, func() error { return s.manager.saveStart(r.dir, record) }, r.dir.FlushNames}
	if s.checkpoint.Restart == store.RestartDone {
		// The checkpoint last: until then the next daemon may try it, and from then on
		// it can't know whether the process was started.
		steps = append(steps[1:], steps[0], r.dir.FlushStored)
	} else {
		steps = append(steps, s.beginTurn)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	s.child.started = time.Now()
	process, err := s.manager.spawner.Start(ctx, spawn.Command{
		ID: spec.ID, Argv: slices.Concat(spec.Argv, p.command.Argv), Env: p.env, Dir: p.dir.cwd, Held: p.dir.held,
		Stdin: std.Stdin, Stdout: std.Stdout, Stderr: std.Stderr,
		Limits: spec.Limits, User: spec.User.Credential(), SoftEnd: p.command.SoftEnd, Grace: spec.Grace,
		BeforeRemove: s.cleanUp, Image: p.entry.Spawn(),
	})
	if err != nil {
		return err
	}
	s.child.process = process
	s.forgetTexts()
	r.started(process)
	return nil
}

// forgetTexts lets go of what the CLI is told, which it has been, or its machine and its
// stdin have: a restart needs the rest of the request.
func (s *supervisor) forgetTexts() {
	for _, q := range []*backend.Request{&s.spec.Request, &s.checkpoint.Request} {
		q.Prompt, q.System, q.Attachments = "", "", nil
	}
}

// plan is one run's place, words and environment, settled.
type plan struct {
	dir     workDir
	session Session // zero without one
	request backend.Request
	command backend.Command
	env     []string
	entry   *inimage.Entry // nil without an image
}

// close lets go of what was opened for the start.
func (p *plan) close() {
	p.dir.close()
	_ = p.entry.Close() // opened to be mounted
}

// prepare settles where the run works and what its CLI is told.
func (s *supervisor) prepare(dir *store.Dir, spec Spec) (plan, error) {
	p, err := s.manager.prepare(dir, spec)
	if err == nil && spec.Image != nil {
		p.entry, err = s.enter(dir, spec, p)
		if err == nil {
			p.env = p.entry.Env
		}
	}
	return p, err
}

func (m *Manager) prepare(dir *store.Dir, s Spec) (p plan, err error) {
	if p.dir, p.session, err = m.workDirOf(dir, s); err != nil {
		return p, err
	}
	q := s.Request
	q.Cwd, q.Tmp, q.Dir, q.Session = p.dir.cwd, dir.File(store.TmpName), dir.Path, p.session.CLISession
	q.Root = s.isRoot()
	q.Converse = len(q.Attachments) > 0 || q.Schema != nil || q.AnyObject
	p.request = q
	if p.command, err = s.Backend.Command(q); err != nil {
		return p, fmt.Errorf("backend %s: %w", s.Backend.Name(), err)
	}
	p.env = environment(s, p.command, p.dir, q.Tmp)
	if s.Session != "" {
		home := envValue(p.env, "HOME")
		if s.Image != nil { // where that one leads is the image's
			home = p.dir.home
		}
		p.session = Session{
			Client: s.Client, Session: s.Session, Backend: s.Backend.Name(),
			CLISession: p.session.CLISession, Cwd: p.dir.cwd, Home: home, LastRun: s.ID, Updated: time.Now(),
			OfRun: s.SessionOfRun && (p.session.Session == "" || p.session.OfRun),
		}
	}
	return p, dir.WriteFiles(p.command.Files)
}

func (m *Manager) workDirOf(dir *store.Dir, s Spec) (at workDir, known Session, err error) {
	if s.Session == "" {
		at, err = ownWorkDir(dir, s)
		return at, known, err
	}
	known, _ = m.sessions.Get(sessions.Key(s.Client, s.Session))
	if known.CLISession != "" && known.Backend != s.Backend.Name() {
		return at, known, &SessionError{Session: s.Session, Field: "backend", Have: known.Backend, Want: s.Backend.Name()}
	}
	at, err = m.sessionWorkDir(s, known)
	return at, known, err
}

// environment is the child's whole environment; what the run itself decides
// lies on top.
func environment(s Spec, c backend.Command, at workDir, tmp string) []string {
	var own []string
	if at.home != "" {
		own = []string{"HOME=" + at.home}
	}
	own = append(own, "TMPDIR="+tmp)
	added := backend.Env(os.LookupEnv, os.Environ(), c.Pass, c.Set)
	if s.Image != nil {
		return backend.MergeEnv(s.Env, added) // the rest is package inimage's
	}
	return backend.MergeEnv(s.Env, s.User.Environment(), added, own)
}

func newCheckpoint(s Spec, p plan) *store.Checkpoint {
	cp := &store.Checkpoint{
		Request: p.request, Kind: s.Backend.Kind(), Fingerprint: s.Fingerprint, Deadline: s.Deadline, Grace: s.Grace, Stall: s.Stall,
		OutputMax: s.OutputMax, LineMax: s.LineMax, SoftEnd: p.command.SoftEnd, Settle: p.command.Settle,
		Talks: p.command.Input == backend.Conversation, Session: p.session,
	}
	if !cp.Talks {
		cp.ForgetPrompt()
	}
	return cp
}
