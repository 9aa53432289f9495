package spawn

import (
	"context"
	"errors"
	"fmt"
)

// Leave closes the Spawner without ending what Process.Leave has let go: groups,
// limits and processes stay for the next Open, which is to Keep them and to be
// given the Origin. What is live else was given up, and is the next one's to
// sweep. Call it instead of Close, which then does nothing.
func (s *Spawner) Leave() (Origin, error) {
	first, err := s.refuse()
	if !first {
		return Origin{}, nil
	}
	s.children.stop()
	errs := []error{err, s.launcher.close()}
	origin, err := s.root.Leave()
	errs = append(errs, err)
	close(s.closed)
	if !quiet(&s.watches, teardownMax) {
		errs = append(errs, errors.New("a teardown is still under way"))
	}
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
			p.Leave()
		}
	}
	return s.shut(ctx, s.root.Abandon, func(int) error {
		groups, _, err := s.root.Remains()
		if len(groups) > 0 {
			s.log.Info("runs of an earlier daemon are left as they were", "groups", groups)
		}
		return err
	})
}
