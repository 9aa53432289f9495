package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"penstock/cgroup"
	"penstock/outcome"
	"penstock/sandbox"
	"penstock/sandbox/pid1"
)

const (
	// startMax, by default, bounds clone to execve: Go's spawn holds its processor so long,
	// and a target throttled or frozen from outside would hold it for ever.
	startMax = 10 * time.Second
	// teardownMax bounds each of: waiting for the end of a start that took too long, waiting
	// for emptiness, and removing the group.
	teardownMax = 5 * time.Second
)

// Start makes the group with its limits, starts the command inside it and sees to
// its end from then on. A *StartError says why nothing runs, and by
// Gone when the group is removed; BeforeRemove has not been called. ctx governs
// the start only: ended before the fork, nothing is started. Safe for concurrent
// use; forks happen one at a time.
func (s *Spawner) Start(ctx context.Context, c Command) (*Process, error) {
	if ctx.Err() != nil {
		return nil, notStarted(c.ID, context.Cause(ctx))
	}
	// In an image process 1 looks for the program.
	if len(c.Argv) == 0 || !filepath.IsAbs(c.Argv[0]) && c.Image == nil {
		return nil, &StartError{Cause: outcome.CLIMissing, Err: fmt.Errorf("start %s: argv %q: program is not an absolute path", c.ID, c.Argv)}
	}
	if err := s.beginStart(); err != nil {
		return nil, notStarted(c.ID, err)
	}
	defer s.endStart()
	began := time.Now()
	limits := c.Limits
	if c.Image != nil {
		limits = withOwnTasks(limits)
	}
	g, err := s.root.NewGroup(c.ID, limits)
	if err != nil {
		s.noteFailure(err)
		return nil, &StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("start %s: %w", c.ID, err)}
	}
	first, err := s.forkExec(ctx, c, g)
	if err != nil {
		return nil, err
	}
	if err := sandbox.SetOOMScore(first.pid(), s.score); err != nil {
		s.log.Warn("child keeps the daemon's OOM score", "run", c.ID, "err", err)
	}
	// After the start: a child under its own CPU limit before execve stalls the
	// daemon. Before it is supervised: a program that has ended already would
	// take the group away under the write.
	unheld := g.ApplyCPU()
	if unheld != nil {
		c.BeforeRemove = nil
	}
	p := newProcess(c, g, first, began, s.log)
	s.supervise(p)
	if unheld != nil {
		p.End(outcome.StartFailed)
		<-p.Ended()
		return nil, (&StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("start %s: %w", c.ID, unheld)}).until(g)
	}
	return p, nil
}

// startResult is what the launcher thread answers.
type startResult struct {
	proc *os.Process
	err  error
}

// forkExec starts the command in the group. On error the group is gone or given to the
// janitor.
func (s *Spawner) forkExec(ctx context.Context, c Command, g *cgroup.Group) (leader, error) {
	var dropped []string
	if c.User, dropped = s.groups.DropPrivileged(c.User); len(dropped) > 0 {
		s.log.Warn("runs don't get groups that lead out of the cage; a primary group stays, choose another", "uid", c.User.Uid, "groups", dropped)
	}
	stdio := [3]*os.File{c.Stdin, c.Stdout, c.Stderr}
	for i, f := range stdio {
		if f == nil {
			stdio[i] = s.null
		}
	}
	if c.Image != nil {
		return s.forkInImage(ctx, c, g, stdio)
	}
	what := sandbox.Child{Argv: c.Argv, Env: c.Env, Dir: c.Dir, User: c.User, Files: stdio}
	var err error
	if what.Checked, err = sandbox.IdentifyDirectory(c.Held); err != nil {
		return nil, s.abortStart(c, g, err)
	}
	proc, err := s.forkFrom(ctx, s.launcher, what, c, g)
	if err != nil {
		return nil, err
	}
	return child{proc}, nil
}

// forkFrom forks on a launcher's thread.
func (s *Spawner) forkFrom(ctx context.Context, from *sandbox.Launcher, what sandbox.Child, c Command, g *cgroup.Group) (*os.Process, error) {
	what.GroupFD, what.LeaderAttr = g.FD(), cgroup.LeaderAttr
	answer := make(chan startResult, 1)
	err := from.Do(ctx, func() {
		if ctx.Err() != nil {
			answer <- startResult{err: context.Cause(ctx)}
			return
		}
		proc, err := s.children.fork(func() (*os.Process, error) { return from.ForkExec(what) })
		answer <- startResult{proc, err}
		from.Ready()
	})
	if err != nil {
		return nil, s.abortStart(c, g, err)
	}
	late := time.NewTimer(s.startMax)
	defer late.Stop()
	select {
	case b := <-answer:
		if b.err != nil {
			return nil, s.abortStart(c, g, b.err)
		}
		return b.proc, nil
	case <-late.C:
		return nil, s.startTimeout(c, g, answer)
	}
}

// forkInImage starts bubblewrap, and waits until process 1 has started the CLI.
func (s *Spawner) forkInImage(ctx context.Context, c Command, g *cgroup.Group, stdio [3]*os.File) (leader, error) {
	what, start, err := s.childInImage(c, stdio)
	defer start.close()
	if err != nil {
		s.discard(c, g)
		return nil, (&StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("start %s: %w", c.ID, err)}).until(g)
	}
	proc, err := s.forkFrom(ctx, s.mounting, what, c, g)
	if err != nil {
		return nil, err
	}
	_, err = start.await(ctx, s.startMax)
	var first *imageLeader
	if err == nil {
		first, err = inImageOf(child{proc}, g, c.Image.Status.Name())
	}
	if err == nil {
		err = s.countFiles(g, first)
	}
	if err == nil {
		return first, nil
	}
	if killErr := g.Kill(); killErr != nil {
		s.log.Warn("failed start not ended", "run", c.ID, "err", killErr)
	}
	if _, waitErr := proc.Wait(); waitErr != nil {
		s.log.Warn("failed start not reaped", "run", c.ID, "err", waitErr)
	}
	s.children.forget(proc.Pid)
	receipt, receiptErr := groupInImage(g, pid1.Status{}).Receipt()
	if receiptErr != nil {
		s.log.Warn("no receipt of a failed start", "run", c.ID, "err", receiptErr)
	}
	s.discard(c, g)
	if ctx.Err() != nil {
		return nil, notStarted(c.ID, context.Cause(ctx)).until(g)
	}
	return nil, failedInImage(c, receipt, err).until(g)
}

// abortStart removes the group of a command that was never started and says why.
func (s *Spawner) abortStart(c Command, g *cgroup.Group, err error) *StartError {
	receipt, receiptErr := g.Receipt()
	if receiptErr != nil {
		s.log.Warn("no receipt of a failed start", "run", c.ID, "err", receiptErr)
	}
	s.discard(c, g)
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return notStarted(c.ID, err).until(g)
	}
	failed := execFailed(c, receipt, err)
	failed.Receipt = &receipt
	return failed.until(g)
}

// discard removes a group nothing lives in; a refusal goes to the janitor.
func (s *Spawner) discard(c Command, g *cgroup.Group) {
	ctx, cancel := context.WithTimeout(context.Background(), teardownMax)
	defer cancel()
	if err := g.Remove(ctx); err != nil {
		s.log.Warn("group of a failed start not removed yet", "run", c.ID, "err", err)
	}
}

// startTimeout ends a start that takes too long, and stops waiting for it when even
// the kill doesn't end it; a child that comes late is reaped in the background.
func (s *Spawner) startTimeout(c Command, g *cgroup.Group, answer <-chan startResult) *StartError {
	late := fmt.Errorf("start %s: %s: not executing after %s: its group was throttled or frozen from outside", c.ID, c.Argv[0], s.startMax)
	if err := g.Kill(); err != nil {
		late = fmt.Errorf("%w; %w", late, err)
	}
	reaped := make(chan struct{})
	go func() {
		defer close(reaped)
		if b := <-answer; b.proc != nil {
			if _, err := b.proc.Wait(); err != nil {
				s.log.Warn("overdue child not reaped", "run", c.ID, "err", err)
			}
			s.children.forget(b.proc.Pid)
		}
		s.discard(c, g)
	}()
	select {
	case <-reaped:
	case <-time.After(s.lateMax):
	}
	return (&StartError{Cause: outcome.StartFailed, Err: late}).until(g)
}
