package spawn

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// supervise sees the tree to its end from now on and then calls over, or once it is
// detached. abandoned is closed when nothing will remove leftover groups any more. A tree
// of a child that rests has no goroutine.
func (p *Process) supervise(exits *exitPoller, abandoned <-chan struct{}, over func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abandoned, p.over = abandoned, over
	if p.stop.up {
		go p.end()
	}
	if c, ok := childOf(p.leader); ok {
		var err error
		if p.unwatch, err = exits.watch(c.pid(), func() { p.leaderExited(nil) }); err == nil {
			return
		}
		p.log.Warn("a thread waits for the leader", "run", p.cmd.ID, "err", err)
	}
	attached, detach := context.WithCancel(context.Background())
	p.unwatch = func() bool { detach(); return false }
	go func() { p.leaderExited(p.leader.await(attached)) }()
}

// end ends the tree, once: when it is asked to, or its leader has exited before that.
func (p *Process) end() {
	defer p.over()
	if !p.isExited() {
		p.stopGracefully()
	}
	p.teardown()
	select {
	case <-p.group.Gone():
		close(p.gone)
	case <-p.abandoned:
	}
}

// stopGracefully gives the leader the time it may have to end by itself.
func (p *Process) stopGracefully() {
	p.mu.Lock()
	graceful := p.graceful
	p.mu.Unlock()
	if graceful && p.exitsWithin(p.cmd.Grace, p.term.c) {
		return
	}
	if !p.cmd.SoftEnd || p.leader.signal(syscall.SIGTERM) != nil {
		return
	}
	p.exitsWithin(p.cmd.Grace, nil)
}

// exitsWithin waits for the leader's own exit.
func (p *Process) exitsWithin(d time.Duration, cut <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
	case <-cut:
	case <-p.kill.c:
	}
	return false
}

// teardown empties, accounts for and removes the group, each step bounded, and
// closes ended.
func (p *Process) teardown() {
	begin := time.Now()
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	survived, leaked, err := p.empty()
	note(err)
	receipt, err := p.group.Receipt()
	note(err)
	p.mu.Lock()
	p.outcome.Reason, p.outcome.Receipt, p.outcome.Survived, p.outcome.Leaked = p.reason, receipt, survived, leaked
	p.mu.Unlock()
	if p.cmd.BeforeRemove != nil {
		p.cmd.BeforeRemove(p.Outcome())
	}
	note(p.group.Remove(context.Background())) // has a bound of its own

	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcome.Teardown = time.Since(begin)
	p.outcome.Err = errors.Join(errs...)
	close(p.ended)
}

// empty ends whatever is left and waits for it. A leader that was gone already
// and left no process behind, which is the rule, needs neither.
func (p *Process) empty() (survived int, leaked bool, err error) {
	alone := p.isExited()
	if alone {
		var populated bool
		if populated, err = p.group.Populated(); err == nil && !populated {
			return survivorsOf(p.leader), false, nil
		}
	}
	survived, killErr := p.killGroup(alone)
	leaked, waitErr := p.awaitEmpty()
	return survived + survivorsOf(p.leader), leaked, errors.Join(err, killErr, waitErr)
}

// killGroup ends the group and counts what had outlived a leader that was gone.
func (p *Process) killGroup(alone bool) (survived int, err error) {
	if alone {
		procs, procsErr := p.group.Procs()
		survived, err = len(procs), procsErr
	}
	if killErr := p.group.Kill(); killErr != nil {
		err = errors.Join(err, killErr)
		if leaderErr := p.leader.signal(syscall.SIGKILL); !alone && leaderErr != nil {
			err = errors.Join(err, fmt.Errorf("kill leader %d: %w", p.PID(), leaderErr))
		}
	}
	return survived, err
}

// awaitEmpty waits for the leader's status, of which the kernel sends word, and then for
// an empty group: most often it is by then.
func (p *Process) awaitEmpty() (leaked bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.bound)
	defer cancel()
	select {
	case <-p.exited:
	case <-ctx.Done():
		// Where the group's kill can't end it, it may not even be in the group.
		err = errors.Join(fmt.Errorf("wait %d: leader not gone %s after the kill", p.PID(), p.bound), p.leader.signal(syscall.SIGKILL))
	}
	err = errors.Join(p.group.WaitEmpty(ctx), err)
	return err != nil, err
}
