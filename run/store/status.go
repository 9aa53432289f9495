package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"penstock/internal/openat"
)

// statusName is where process 1 of each run in an image writes down how that goes; also of
// runs that have nothing else in the store.
const statusName = "status"

func (s *StateDir) statusFile(id string) string {
	return filepath.Join(s.Store.places[0], statusName, id)
}

// NewStatus makes the file of a run that is to be started, in place of one before it.
func (s *StateDir) NewStatus(id string) (*os.File, error) {
	path := s.statusFile(id)
	err := s.RemoveStatus(id)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("status of a run: %w", orRemoved(err))
	}
	return f, nil
}

// Status opens that of a run of an earlier daemon.
func (s *StateDir) Status(id string) (*os.File, error) {
	f, _, err := openat.Regular(s.statusFile(id))
	return f, err
}

// RemoveStatus is for a run that has ended.
func (s *StateDir) RemoveStatus(id string) error {
	if err := os.Remove(s.statusFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("status of a run: %w", err)
	}
	return nil
}

// SweepStatus removes those of runs that don't live any more.
func (s *StateDir) SweepStatus(lives func(id string) bool) error {
	entries, err := os.ReadDir(filepath.Join(s.Store.places[0], statusName))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !lives(e.Name()) {
			errs = append(errs, s.RemoveStatus(e.Name()))
		}
	}
	return errors.Join(errs...)
}
