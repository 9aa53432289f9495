package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"penstock/internal/atomicfile"
	runs "penstock/run"
)

// Outcomes of a handover.
const (
	handoverDone    = "done"
	handoverRefused = "refused" // nothing has changed
	handoverFailed  = "failed"  // what didn't finish was ended; the daemon has begun anew by itself, or has ended
)

// handoverNote is how the last handover went, as handover.json in the store of the
// state directory.
type handoverNote struct {
	Outcome string    `json:"outcome"`
	Version string    `json:"version"` // of who writes it
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at"`
}

const handoverFile = "handover.json"

// notePaths are where a note may appear. A daemon of the version before has no
// store, and writes a refusal where its runs may write, too.
func notePaths(stateDir string) []string {
	paths := []string{filepath.Join(runs.StorePlaces(stateDir)[0], handoverFile)}
	if !runs.HasStore(stateDir) {
		paths = append(paths, filepath.Join(stateDir, handoverFile))
	}
	return paths
}

// write replaces the note whole.
func (n handoverNote) write(stateDir string) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note of the handover: %w", err)
	}
	for _, place := range runs.StorePlaces(stateDir) {
		if err := atomicfile.Replace(filepath.Join(place, handoverFile), append(text, '\n'), nil); err != nil {
			return fmt.Errorf("note of the handover: %w", err)
		}
	}
	return nil
}
