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
	firstProof = 200 * time.Millisecond
	lastProof  = 10 * time.Second
	// noGroups is told to anybody, so it has no path in it; the log has the cause.
	noGroups = "failed: groups can't be made or limited (the log has the cause)"
)

// doubts is whether groups can be made. It is asked again in the background: a
// daemon that is sent no request because of it would else stay so for ever.
type doubts struct {
	mu   sync.Mutex
	on   bool
	quit context.CancelFunc
	work sync.WaitGroup
}

// doubt takes note of a group that was refused by the kernel.
func (s *Spawner) doubt(err error) {
	if !errors.Is(err, cgroup.ErrKernel) || errors.Is(err, fs.ErrExist) {
		return
	}
	d := &s.doubts
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on || s.isClosing() {
		return
	}
	s.log.Error("groups can't be made or limited: no run can start", "err", err)
	ctx, quit := context.WithCancel(context.Background())
	d.on, d.quit = true, quit
	d.work.Go(func() { s.clear(ctx) })
}

// clear makes and removes a group until that works.
func (s *Spawner) clear(ctx context.Context) {
	for pause := firstProof; ; pause = min(2*pause, lastProof) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := s.proveGroup(ctx); err != nil {
			s.log.Debug("groups still can't be made", "err", err)
			continue
		}
		s.doubts.mu.Lock()
		s.doubts.on = false
		s.doubts.mu.Unlock()
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

func (s *Spawner) inDoubt() bool {
	s.doubts.mu.Lock()
	defer s.doubts.mu.Unlock()
	return s.doubts.on
}

// stopDoubts ends the proofs; call it once no doubt can be added.
func (s *Spawner) stopDoubts() {
	s.doubts.mu.Lock()
	if s.doubts.quit != nil {
		s.doubts.quit()
	}
	s.doubts.mu.Unlock()
	s.doubts.work.Wait()
}
