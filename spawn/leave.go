package spawn

import (
	"errors"
	"fmt"
)

// Leave closes the Spawner without ending what Process.Leave has let go: groups,
// limits and processes stay for the next Open, which is to Keep them. What is
// live else was given up, and is the next one's to sweep. Call it instead of
// Close, which then does nothing.
func (s *Spawner) Leave() error {
	first, err := s.refuse()
	if !first {
		return nil
	}
	errs := []error{err, s.launcher.close(), s.root.Leave()}
	close(s.closed)
	if !quiet(&s.watches, teardownMax) {
		errs = append(errs, errors.New("a teardown is still under way"))
	}
	if err := errors.Join(append(errs, s.null.Close())...); err != nil {
		return fmt.Errorf("leave spawner: %w", err)
	}
	return nil
}
