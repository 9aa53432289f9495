package spawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"penstock/cgroup"
)

const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
	// noGroupsText is what /health tells any client, so it has no path in it; the log has the cause.
	noGroupsText = "failed: groups can't be made or limited (the log has the cause)"
)

// groupHealth is whether groups can be made. That is tried again in the background: a
// daemon that is sent no request because of it would else stay so for ever.
type groupHealth struct {
	mu      sync.Mutex
	failing bool
	quit    context.CancelFunc
	work    sync.WaitGroup
}

// noteFailure takes note of a group that was refused by the kernel.
func (s *Spawner) noteFailure(err error) {
	if !errors.Is(err, cgroup.ErrKernel) || errors.Is(err, fs.ErrExist) {
		return
	}
	d := &s.health
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failing || s.isClosing() {
		return
	}
	s.log.Error("groups can't be made or limited: no run can start", "err", err)
	ctx, quit := context.WithCancel(context.Background())
	d.failing, d.quit = true, quit
	d.work.Go(func() { s.retry(ctx) })
}

// retry makes and removes a group until that works.
func (s *Spawner) retry(ctx context.Context) {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := s.proveGroup(ctx); err != nil {
			s.log.Debug("groups still can't be made", "err", err)
			continue
		}
		s.health.mu.Lock()
		s.health.failing = false
		s.health.mu.Unlock()
		s.log.Info("groups can be made again")
		return
	}
}

func (s *Spawner) proveGroup(ctx context.Context) error {
	limits := cgroup.Resources(cgroup.Limits{MemoryMax: 64 << 20, PidsMax: 16})
	g, err := s.root.NewGroup(fmt.Sprintf("probe_%s", ulid.Make()), limits)
	if err != nil {
		return err
	}
	return g.Remove(ctx)
}

func (s *Spawner) groupsFail() bool {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.failing
}

// stopRetries ends the tries; call it once no failure can be noted any more.
func (s *Spawner) stopRetries() {
	s.health.mu.Lock()
	if s.health.quit != nil {
		s.health.quit()
	}
	s.health.mu.Unlock()
	s.health.work.Wait()
}
