package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"penstock/outcome"
)

// Close refuses further starts, ends every live tree (grace included while ctx
// lasts, at once afterwards), stops the launcher and leaves the cgroup tree as
// it was found. An error names what could not be ended. Later calls do nothing.
func (s *Spawner) Close(ctx context.Context) error {
	return s.shutdown(ctx, s.root.Close, s.logRemains)
}

func (s *Spawner) shutdown(ctx context.Context, closeRoot func(context.Context) error, account func(ended int) error) error {
	first, err := s.beginClose()
	if !first {
		return nil
	}
	errs := []error{err}
	ended, err := s.endAll(ctx)
	errs = append(errs, err)
	if s.launcher != nil {
		errs = append(errs, s.launcher.Close())
	}
	if s.mounting != nil {
		errs = append(errs, s.mounting.Close())
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), teardownMax)
	defer cancel()
	errs = append(errs, closeRoot(last))
	errs = append(errs, account(ended))
	close(s.closed)
	if !waitTimeout(&s.watches, teardownMax) {
		errs = append(errs, errors.New("close spawner: a teardown is still under way"))
	}
	s.children.stop()
	if s.exits != nil {
		s.exits.finish()
	}
	if s.null != nil {
		errs = append(errs, s.null.Close())
	}
	return errors.Join(errs...)
}

// beginClose takes no further starts and waits, within a bound, for those under way;
// first is true for the first caller only.
func (s *Spawner) beginClose() (first bool, err error) {
	s.mu.Lock()
	first = !s.closing
	s.closing = true
	s.mu.Unlock()
	if !first {
		return false, nil
	}
	if !waitTimeout(&s.starts, startMax+teardownMax) {
		err = errors.New("close spawner: a start is still under way")
	}
	s.stopRetries()
	return true, err
}

// logRemains tells what the kernel still has of the cage.
func (s *Spawner) logRemains(ended int) error {
	groups, pids, err := s.root.Remains()
	if err != nil {
		return fmt.Errorf("close spawner: %w", err)
	}
	level := slog.LevelInfo
	told := []any{"ended_last", ended, "groups_left", len(groups), "processes_left", len(pids)}
	if len(groups)+len(pids) > 0 {
		level = slog.LevelError
		told = append(told, "groups", groups, "pids", pids)
	}
	s.log.Log(context.Background(), level, "cage closed", told...)
	return nil
}

// endAll waits for every live tree, softly under ctx, then with force and a
// bound, and tells how many there were. A detached one, which its supervisor may not
// have let go yet, is none of them: its end is never told.
func (s *Spawner) endAll(ctx context.Context) (ended int, err error) {
	live := s.processes()
	for _, p := range live {
		p.End(outcome.ShuttingDown)
	}
	live = slices.DeleteFunc(live, func(p *Process) bool { return p.isDetached() })
	for _, p := range live {
		select {
		case <-p.Ended():
		case <-ctx.Done():
			p.Kill()
		}
	}
	bound := time.After(2*teardownMax + time.Second)
	var errs []error
	for _, p := range live {
		select {
		case <-p.Ended():
			if p.Outcome().Leaked {
				errs = append(errs, fmt.Errorf("end %s: %w", p.cmd.ID, p.Outcome().Err))
			}
		case <-bound:
			return len(live), errors.Join(append(errs, fmt.Errorf("end %s: teardown is still under way", p.cmd.ID))...)
		}
	}
	return len(live), errors.Join(errs...)
}

func (s *Spawner) processes() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Process, 0, len(s.live))
	for p := range s.live {
		all = append(all, p)
	}
	return all
}

// waitTimeout waits, within a bound, until a group of goroutines is done.
func waitTimeout(wg *sync.WaitGroup, d time.Duration) bool {
	still := make(chan struct{})
	go func() {
		wg.Wait()
		close(still)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-still:
		return true
	case <-timer.C:
		return false
	}
}

// Detach closes the Spawner without ending what Process.Detach has let go: groups,
// limits and processes stay for the next Open, which is to Keep them and to be
// given the Origin. What is live else was given up, and is the next one's to
// sweep. Call it instead of Close, which then does nothing.
func (s *Spawner) Detach() (Origin, error) {
	first, err := s.beginClose()
	if !first {
		return Origin{}, nil
	}
	s.children.stop()
	errs := []error{err, s.launcher.Close()}
	origin, err := s.root.Detach()
	errs = append(errs, err)
	close(s.closed)
	if !waitTimeout(&s.watches, teardownMax) {
		errs = append(errs, errors.New("a teardown is still under way"))
	}
	s.exits.close()
	if err := errors.Join(append(errs, s.null.Close())...); err != nil {
		return origin, fmt.Errorf("leave spawner: %w", err)
	}
	return origin, nil
}

// Abandon closes the Spawner of a start that comes to nothing: what was started
// here is ended, and what an earlier daemon left lives on for the next one,
// claimed or not. Call it instead of Close, which then does nothing.
func (s *Spawner) Abandon(ctx context.Context) error {
	for _, p := range s.processes() {
		if p.adopted {
			p.Detach()
		}
	}
	return s.shutdown(ctx, s.root.Abandon, func(int) error {
		groups, _, err := s.root.Remains()
		if len(groups) > 0 {
			s.log.Info("runs of an earlier daemon are left as they were", "groups", groups)
		}
		return err
	})
}
