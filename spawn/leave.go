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
	s.mu.Lock()
	again := s.closing
	s.closing = true
	s.mu.Unlock()
	if again {
		return nil
	}
	var errs []error
	if !quiet(&s.starts, startMax+teardownMax) {
		errs = append(errs, errors.New("a start is still under way"))
	}
	s.stopDoubts()
	errs = append(errs, s.launcher.close(), s.root.Leave())
	close(s.closed)
	if !quiet(&s.watches, teardownMax) {
		errs = append(errs, errors.New("a teardown is still under way"))
	}
	if err := errors.Join(append(errs, s.null.Close())...); err != nil {
		return fmt.Errorf("leave spawner: %w", err)
	}
	return nil
}
